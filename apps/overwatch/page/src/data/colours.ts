/**
 * Colours of runs: Okabe and Ito's colour-blind-safe palette (2008) in a fixed order. A run's
 * colour follows from its id alone, so that it is the same on every page.
 */
export const RUN_COLOURS = [
  '#56b4e9',
  '#e69f00',
  '#009e73',
  '#cc79a7',
  '#d55e00',
  '#8f9bff',
  '#c0b000',
  '#999999',
] as const

export function hash(text: string): number {
  let value = 2166136261
  for (const character of text) {
    value = Math.imul(value ^ (character.codePointAt(0) ?? 0), 16777619)
  }
  return value >>> 0
}

export function runColour(run: string): string {
  return RUN_COLOURS[hash(run) % RUN_COLOURS.length] ?? RUN_COLOURS[0]
}

/** Returns a colour for each of some runs: their own, or the next free one of two alike. */
export function runColours(runs: readonly string[]): Map<string, string> {
  const colours = new Map<string, string>()
  const taken = new Set<number>()
  for (const run of [...runs].sort()) {
    let index = hash(run) % RUN_COLOURS.length
    while (taken.has(index) && taken.size < RUN_COLOURS.length) {
      index = (index + 1) % RUN_COLOURS.length
    }
    taken.add(index)
    colours.set(run, RUN_COLOURS[index] ?? RUN_COLOURS[0])
  }
  return colours
}

/** One letter for each stage, so that colour is never alone. */
export const STAGE_LETTERS: Readonly<Record<string, string>> = {
  DORMANT: '·',
  GERMINATED: 'G',
  TRAINING: 'T',
  BLENDING: 'B',
  HOLDING: 'H',
  FOSSILIZED: 'F',
  PRUNED: 'P',
  EMBARGOED: 'E',
  RESETTING: 'R',
}

/** The CSS variable with the colour of a stage. */
export function stageColour(stage: string): string {
  return `var(--stage-${stage.toLowerCase()})`
}
