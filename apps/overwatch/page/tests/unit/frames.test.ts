import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FrameClient, waitBefore, type Connection } from '../../src/data/frames'

/** Stands for the browser's socket, so that a test decides when an answer comes. */
class Socket {
  static latest: Socket
  static readonly OPEN = 1
  readyState = 0
  sent: string[] = []
  onopen: () => void = () => undefined
  onmessage: (message: { data: string }) => void = () => undefined
  onclose: () => void = () => undefined

  constructor(readonly url: string) {
    Socket.latest = this
  }

  open() {
    this.readyState = 1
    this.onopen()
  }

  send(text: string) {
    this.sent.push(text)
  }

  close() {
    this.onclose()
  }
}

const request = { run: 'a', view: 'hosts', from: -1, stream: null, at: null }

describe('FrameClient', () => {
  let states: Connection[]
  let frames: unknown[]
  let client: FrameClient

  beforeEach(() => {
    vi.useFakeTimers()
    vi.stubGlobal('WebSocket', Socket)
    vi.stubGlobal('requestAnimationFrame', (call: () => void) => setTimeout(call, 16))
    vi.stubGlobal('fetch', () => Promise.reject(new Error('no server')))
    states = []
    frames = []
    client = new FrameClient(() => request, {
      onFrame: (frame) => frames.push(frame),
      onError: (text) => frames.push(text),
      onConnection: (state) => states.push(state),
    })
    client.open()
    Socket.latest.open()
  })

  afterEach(() => {
    client.close()
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  it('asks again only when the answer was drawn', () => {
    expect(Socket.latest.sent).toHaveLength(1)
    Socket.latest.onmessage({ data: JSON.stringify({ run: 'a' }) })
    expect(Socket.latest.sent).toHaveLength(1)
    vi.advanceTimersByTime(20)
    expect(Socket.latest.sent).toHaveLength(2)
    expect(frames).toHaveLength(1)
  })

  it('asks at once for another view', () => {
    client.ask()
    expect(Socket.latest.sent).toHaveLength(2)
  })

  it('asks nothing while the tab is hidden', () => {
    const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true)
    Socket.latest.onmessage({ data: '{}' })
    vi.advanceTimersByTime(1000)
    expect(Socket.latest.sent).toHaveLength(1)
    hidden.mockReturnValue(false)
    document.dispatchEvent(new Event('visibilitychange'))
    expect(Socket.latest.sent).toHaveLength(2)
    hidden.mockRestore()
  })

  it('connects again after a wait that grows', async () => {
    const first = Socket.latest
    first.close()
    await vi.advanceTimersByTimeAsync(0)
    expect(states.at(-1)?.state).toBe('lost')
    await vi.advanceTimersByTimeAsync(waitBefore(0))
    expect(Socket.latest).not.toBe(first)
    expect(waitBefore(3)).toBeGreaterThan(waitBefore(2))
    expect(waitBefore(50)).toBe(10_000)
  })

  it('says that the token is refused, and stops', async () => {
    vi.stubGlobal('fetch', () => Promise.resolve({ status: 401 }))
    const first = Socket.latest
    first.close()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(states.at(-1)).toEqual({ state: 'refused' })
    expect(Socket.latest).toBe(first)
  })

  it('shows an error and asks again', () => {
    Socket.latest.onmessage({ data: JSON.stringify({ error: 'no such run' }) })
    expect(frames).toEqual(['no such run'])
    vi.advanceTimersByTime(2000)
    expect(Socket.latest.sent).toHaveLength(2)
  })
})
