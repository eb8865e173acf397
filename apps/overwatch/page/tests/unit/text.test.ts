import { describe, expect, it } from 'vitest'
import { allVisible, visible } from '../../src/data/text'

describe('text of a log', () => {
  it('shows characters that are not visible', () => {
    expect(visible('a\x1b[31mb\u202ec\nd')).toBe('a\\x1b[31mb\\u202ec\\x0ad')
    expect(visible('<img src=x> é 漢')).toBe('<img src=x> é 漢')
  })

  it('does so at any depth, and keeps what did not change', () => {
    const same = { list: [1, 'a'], nothing: null }
    const value = { same, bad: ['\x07'] }
    const shown = allVisible(value)
    expect(shown.bad).toEqual(['\\x07'])
    expect(shown.same).toBe(same)
    expect(allVisible(same)).toBe(same)
    expect(allVisible('x')).toBe('x')
  })
})
