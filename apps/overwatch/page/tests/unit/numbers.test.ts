import { describe, expect, it } from 'vitest'
import {
  ago,
  duration,
  fixed,
  MISSING,
  percent,
  short,
  signed,
  toNumber,
} from '../../src/data/numbers'

describe('numbers', () => {
  it('keeps NaN, infinity and a missing value apart', () => {
    expect(fixed('NaN')).toBe('NaN')
    expect(fixed('Infinity')).toBe('∞')
    expect(fixed('-Infinity')).toBe('−∞')
    expect(fixed(null)).toBe(MISSING)
    expect(percent('NaN')).toBe('NaN %')
    expect(percent(null)).toBe(MISSING)
    expect(toNumber('NaN')).toBeNaN()
    expect(toNumber(null)).toBeNaN()
  })

  it('writes values of any size in few characters', () => {
    const values = [0, 1e-9, -0.00012, 0.0123, 1.5, -12.34, 999.9, 12345, 1.2e6, 9.9e15, 1e300]
    for (const value of values) expect(short(value).length, String(value)).toBeLessThan(306)
    expect(short(0.0123)).toBe('0.012')
    expect(short(12345)).toBe('12.3 k')
    expect(short(-1.5e-7)).toBe('−1.5e−7')
    expect(short('NaN')).toBe('NaN')
  })

  it('gives differences a sign', () => {
    expect(signed(1.25)).toBe('+1.3')
    expect(signed(-1.25, 2)).toBe('−1.25')
    expect(signed(null)).toBe(MISSING)
  })

  it('writes durations and ages', () => {
    expect(duration(5)).toBe('0:05')
    expect(duration(3723)).toBe('1:02:03')
    expect(duration('NaN')).toBe(MISSING)
    expect(ago(100, 130)).toBe('30 s ago')
    expect(ago(200, 130)).toBe('0 s ago')
    expect(ago(0, 7200)).toBe('2 h ago')
  })
})
