/**
 * Characters that are not visible, or that turn the direction of the text around them: controls,
 * line and paragraph separators, and the marks of bidirectional text.
 */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** Returns a text of a log with its unseen characters escaped, for example `\x1b`. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (character) => {
    const code = character.charCodeAt(0)
    return code < 256
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/** Returns the same value with every text in it made visible; equal parts stay the same objects. */
export function allVisible<T>(value: T): T {
  if (typeof value === 'string') return visible(value) as T
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value) as [string, unknown][]
  const made = entries.map(([key, inner]) => [key, allVisible(inner)] as const)
  if (made.every(([, inner], index) => inner === entries[index]?.[1])) return value
  return (Array.isArray(value) ? made.map(([, inner]) => inner) : Object.fromEntries(made)) as T
}
