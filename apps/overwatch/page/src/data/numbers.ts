import type { Measured } from '../types'

export type Num = Measured

/** Returns the number, NaN where there is none. */
export function toNumber(value: Num | null | undefined): number {
  return value === null || value === undefined ? NaN : Number(value)
}

export const MISSING = '–'

/** Formats with a fixed number of digits after the point; NaN and infinity stay visible. */
export function fixed(value: Num | null | undefined, digits = 1): string {
  if (value === null || value === undefined) return MISSING
  const number = Number(value)
  if (Number.isNaN(number)) return 'NaN'
  if (!Number.isFinite(number)) return number > 0 ? '∞' : '−∞'
  return number.toFixed(digits).replace('-', '−')
}

/** Formats with three significant digits, for values of any size. */
export function short(value: Num | null | undefined): string {
  if (value === null || value === undefined) return MISSING
  const number = Number(value)
  const size = Math.abs(number)
  if (!Number.isFinite(number)) return fixed(value)
  if (size === 0) return '0'
  if (size >= 1e6) return `${trimmed(number / 1e6)} M`
  if (size >= 1e4) return `${trimmed(number / 1e3)} k`
  if (size < 1e-3) return number.toExponential(1).replace(/-/g, '−')
  return trimmed(number)
}

export function percent(value: Num | null | undefined, digits = 1): string {
  const text = fixed(value, digits)
  return text === MISSING ? text : `${text} %`
}

/** Formats with a sign, for differences. */
export function signed(value: Num | null | undefined, digits = 1): string {
  const text = fixed(value, digits)
  return Number(value) > 0 ? `+${text}` : text
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? MISSING : value.toLocaleString('en-US')
}

/** Formats a duration in seconds, for example `3:05` or `1:02:33`. */
export function duration(value: Num | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(Number(value))) return MISSING
  const total = Math.max(0, Math.round(Number(value)))
  const hours = Math.floor(total / 3600)
  const minutes = Math.floor((total % 3600) / 60)
  const seconds = String(total % 60).padStart(2, '0')
  return hours > 0
    ? `${hours}:${String(minutes).padStart(2, '0')}:${seconds}`
    : `${minutes}:${seconds}`
}

/** Formats a Unix time as the time of day here. */
export function clock(time: Num): string {
  return new Date(Number(time) * 1000).toLocaleTimeString('en-GB')
}

/** Formats how long ago a Unix time was. */
export function ago(time: Num | null | undefined, now: number): string {
  if (time === null || time === undefined) return MISSING
  const seconds = Math.max(0, now - Number(time))
  if (seconds < 90) return `${Math.round(seconds)} s ago`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`
  return `${Math.round(seconds / 86400)} d ago`
}

/** Returns A to Z, then A1 to Z1 and so on. */
export function letter(index: number): string {
  const turn = Math.floor(index / 26)
  return String.fromCharCode(65 + (index % 26)) + (turn > 0 ? String(turn) : '')
}

function trimmed(value: number): string {
  const size = Math.abs(value)
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
  return value.toFixed(digits).replace('-', '−')
}
