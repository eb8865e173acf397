import { visible } from './text'
import type { ErrorAnswer, FrameAnswer, FrameRequest } from './wire'

/** How the connection to the server stands. */
export type Connection =
  | { state: 'connecting' }
  | { state: 'open' }
  | { state: 'lost'; retryAt: number }
  | { state: 'refused' }

export interface FrameEvents {
  onFrame: (frame: FrameAnswer) => void
  onError: (text: string) => void
  onConnection: (connection: Connection) => void
}

const FIRST_WAIT = 500
const LONGEST_WAIT = 10_000

/** How long to wait before an attempt to connect again, in milliseconds. */
export function waitBefore(attempt: number): number {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** attempt)
}

/**
 * Asks for frames, one at a time: the next request is sent when the last answer was drawn. Nothing
 * is asked while the tab is hidden.
 */
export class FrameClient {
  private socket: WebSocket | null = null
  private retry: ReturnType<typeof setTimeout> | null = null
  private attempt = 0
  private waiting = false
  private closed = false

  /**
   * @param request Returns what to ask for next.
   * @param events Takes what happens.
   */
  constructor(
    private readonly request: () => FrameRequest,
    private readonly events: FrameEvents,
  ) {}

  open(): void {
    document.addEventListener('visibilitychange', this.resume)
    this.connect()
  }

  close(): void {
    this.closed = true
    document.removeEventListener('visibilitychange', this.resume)
    if (this.retry !== null) clearTimeout(this.retry)
    this.socket?.close()
  }

  /** Asks at once, for example since another view was opened; replaces a request under way. */
  ask(): void {
    this.waiting = false
    this.next()
  }

  /** Tries to connect now instead of after the wait. */
  retryNow(): void {
    if (this.retry !== null) clearTimeout(this.retry)
    if (this.socket === null) this.connect()
  }

  private readonly resume = (): void => {
    if (!document.hidden) this.next()
  }

  private connect(): void {
    this.retry = null
    this.events.onConnection({ state: 'connecting' })
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    const socket = new WebSocket(`${scheme}://${location.host}/ws`)
    this.socket = socket
    socket.onopen = () => {
      this.events.onConnection({ state: 'open' })
      this.waiting = false
      this.next()
    }
    socket.onmessage = (message) => {
      this.take(JSON.parse(String(message.data)) as FrameAnswer | ErrorAnswer)
    }
    socket.onclose = () => {
      this.socket = null
      if (!this.closed) void this.lost()
    }
  }

  private take(answer: FrameAnswer | ErrorAnswer): void {
    this.waiting = false
    this.attempt = 0
    if ('error' in answer) {
      this.events.onError(visible(answer.error))
      this.retry = setTimeout(() => {
        this.next()
      }, 2000)
      return
    }
    this.events.onFrame(answer)
    // After the browser has drawn: a slow tab asks less often.
    requestAnimationFrame(() => {
      this.next()
    })
  }

  private next(): void {
    const open = this.socket?.readyState === WebSocket.OPEN
    if (this.socket === null || !open || this.waiting || document.hidden) return
    this.waiting = true
    this.socket.send(JSON.stringify(this.request()))
  }

  private async lost(): Promise<void> {
    if (await isRefused()) {
      this.events.onConnection({ state: 'refused' })
      return
    }
    const wait = waitBefore(this.attempt++)
    this.events.onConnection({ state: 'lost', retryAt: Date.now() + wait })
    this.retry = setTimeout(() => {
      this.connect()
    }, wait)
  }
}

/** Whether the server is there but does not take the cookie. */
async function isRefused(): Promise<boolean> {
  try {
    return (await fetch('/api/runs')).status === 401
  } catch {
    return false
  }
}
