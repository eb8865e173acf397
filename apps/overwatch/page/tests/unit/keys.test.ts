import { describe, expect, it, vi } from 'vitest'
import { HELP, Keyboard } from '../../src/data/keys'

function keyboard() {
  const handlers = {
    digit: vi.fn(),
    number: vi.fn(),
    row: vi.fn(),
    panel: vi.fn(),
    filter: vi.fn(),
    pause: vi.fn(),
    round: vi.fn(),
    scale: vi.fn(),
    theme: vi.fn(),
    back: vi.fn(),
    help: vi.fn(),
    open: vi.fn(),
  }
  return { handlers, keys: new Keyboard(() => handlers) }
}

describe('Keyboard', () => {
  it('selects hosts by digit, and by number after g', () => {
    const { handlers, keys } = keyboard()
    keys.press('3')
    for (const key of ['g', '1', '2', 'Enter']) expect(keys.press(key)).toBe(true)
    expect(handlers.digit.mock.calls).toEqual([[3]])
    expect(handlers.number.mock.calls).toEqual([[12]])
  })

  it('gives up a number at any other key', () => {
    const { handlers, keys } = keyboard()
    for (const key of ['g', '1', 'x', 'j']) keys.press(key)
    expect(handlers.number).not.toHaveBeenCalled()
    expect(handlers.row).toHaveBeenCalledWith(1)
  })

  it.each([
    ['j', 'row', 1],
    ['k', 'row', -1],
    ['h', 'panel', -1],
    ['l', 'panel', 1],
    ['[', 'round', -1],
    [']', 'round', 1],
  ] as const)('%s moves by one', (key, name, step) => {
    const { handlers, keys } = keyboard()
    expect(keys.press(key)).toBe(true)
    expect(handlers[name]).toHaveBeenCalledWith(step)
  })

  it.each([
    ['/', 'filter'],
    [' ', 'pause'],
    ['Enter', 'open'],
    ['y', 'scale'],
    ['t', 'theme'],
    ['?', 'help'],
    ['Escape', 'back'],
  ] as const)('%s is one call', (key, name) => {
    const { handlers, keys } = keyboard()
    expect(keys.press(key)).toBe(true)
    expect(handlers[name]).toHaveBeenCalledOnce()
  })

  it('is off while a person types', () => {
    const { handlers, keys } = keyboard()
    const input = document.createElement('input')
    document.body.append(input)
    input.addEventListener('keydown', keys.listen)
    input.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }))
    document.body.addEventListener('keydown', keys.listen)
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', ctrlKey: true }))
    expect(handlers.row).not.toHaveBeenCalled()
  })

  it('is off while a dialog is open', () => {
    const { handlers, keys } = keyboard()
    const dialog = document.createElement('dialog')
    dialog.setAttribute('open', '')
    document.body.append(dialog)
    keys.listen(new KeyboardEvent('keydown', { key: 'Escape' }))
    expect(handlers.back).not.toHaveBeenCalled()
    dialog.remove()
    keys.listen(new KeyboardEvent('keydown', { key: 'Escape' }))
    expect(handlers.back).toHaveBeenCalledOnce()
  })

  it('leaves other keys to the browser', () => {
    expect(keyboard().keys.press('q')).toBe(false)
  })

  it('describes every key', () => {
    const text = HELP.map((line) => line.keys).join(' ')
    for (const key of [
      '1',
      'g',
      'j',
      'k',
      'h',
      'l',
      '/',
      'space',
      '[',
      ']',
      'y',
      't',
      'Esc',
      '?',
    ]) {
      expect(text).toContain(key)
    }
  })
})
