/** What a key does, and how the help describes it. */
export interface KeyAction {
  keys: string
  text: string
}

export const HELP: readonly KeyAction[] = [
  { keys: '1 – 9', text: 'select a host; on the list, open a run' },
  { keys: 'g, digits, Enter', text: 'select a host by a longer number' },
  { keys: 'j  k', text: 'next and previous row of the leaderboard or list' },
  { keys: 'Enter', text: 'on the list, open the selected run' },
  { keys: 'h  l', text: 'previous and next tab' },
  { keys: '/', text: 'filter' },
  { keys: 'space', text: 'pause, or go on' },
  { keys: '[  ]', text: 'one round back or forward' },
  { keys: 'y', text: 'logarithmic scale' },
  { keys: 't', text: 'theme' },
  { keys: 'Esc', text: 'back to the list' },
  { keys: '?', text: 'this help' },
]

export interface KeyHandlers {
  digit: (digit: number) => void
  number: (value: number) => void
  row: (step: 1 | -1) => void
  panel: (step: 1 | -1) => void
  filter: () => void
  pause: () => void
  open: () => void
  round: (step: 1 | -1) => void
  scale: () => void
  theme: () => void
  back: () => void
  help: () => void
}

/** Reads keys into calls: a digit at once, or a number after `g`. */
export class Keyboard {
  private typed: string | null = null

  constructor(private readonly handlers: () => Partial<KeyHandlers>) {}

  readonly listen = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return
    // An open dialog has its own keys: Esc closes it.
    if (document.querySelector('dialog[open]') !== null) return
    if (this.typed === null && isControlled(event)) return
    if (this.press(event.key)) event.preventDefault()
  }

  /** Returns whether the key means something here. */
  press(key: string): boolean {
    const handlers = this.handlers()
    if (this.typed !== null) return this.pressInNumber(key, handlers)
    if (key === 'g') {
      this.typed = ''
      return true
    }
    if (/^[1-9]$/.test(key)) return call(handlers.digit, Number(key))
    switch (key) {
      case 'j':
        return call(handlers.row, 1)
      case 'k':
        return call(handlers.row, -1)
      case 'h':
        return call(handlers.panel, -1)
      case 'l':
        return call(handlers.panel, 1)
      case '/':
        return call(handlers.filter)
      case ' ':
        return call(handlers.pause)
      case 'Enter':
        return call(handlers.open)
      case '[':
        return call(handlers.round, -1)
      case ']':
        return call(handlers.round, 1)
      case 'y':
        return call(handlers.scale)
      case 't':
        return call(handlers.theme)
      case '?':
        return call(handlers.help)
      case 'Escape':
        return call(handlers.back)
      default:
        return false
    }
  }

  private pressInNumber(key: string, handlers: Partial<KeyHandlers>): boolean {
    if (/^\d$/.test(key)) {
      this.typed += key
      return true
    }
    const typed = this.typed ?? ''
    this.typed = null
    if (key === 'Enter' && typed !== '') return call(handlers.number, Number(typed))
    return false
  }
}

/** Whether the key presses the control that has the focus: a button, a link, a heading that folds. */
function isControlled(event: KeyboardEvent): boolean {
  const pressing = event.key === 'Enter' || event.key === ' '
  return (
    pressing &&
    event.target instanceof HTMLElement &&
    event.target.matches('a, button, summary, input')
  )
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false
  if (target instanceof HTMLInputElement) return target.type !== 'checkbox'
  return target.matches('textarea, select') || target.isContentEditable
}

function call<A extends unknown[]>(handler: ((...args: A) => void) | undefined, ...args: A) {
  handler?.(...args)
  return handler !== undefined
}
