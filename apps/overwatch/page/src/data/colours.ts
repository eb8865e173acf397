/**
 * How lines look: Okabe and Ito's colour-blind-safe palette (2008) in a fixed order, one shade for
 * each theme. With more lines than colours the colours come again, with another dash pattern.
 */
export interface LineStyle {
  /** The CSS variable with its colour. */
  variable: string
  /** Lengths of dashes and gaps in pixels; none for a solid line. */
  dash: readonly number[]
}

export const COLOURS = 8
const DASHES: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [10, 3, 2, 3]]
const STYLES = COLOURS * DASHES.length

/** Returns the style of a place in an order, from 0 on. */
export function lineStyle(place: number): LineStyle {
  const index = place % STYLES
  return {
    variable: `--line-${index % COLOURS}`,
    dash: DASHES[Math.floor(index / COLOURS)] ?? [],
  }
}

/**
 * Returns the style of every run of a folder, the same on every page: its place in the order of
 * all ids. Ids begin with a date, so a new run changes no other one's style.
 */
export function runStyles(all: readonly string[]): Map<string, LineStyle> {
  return new Map([...all].sort().map((run, place) => [run, lineStyle(place)]))
}

/** Returns the styles of some of all runs; of two with the same one, the later gets the next. */
export function comparedStyles(
  runs: readonly string[],
  all: readonly string[],
): Map<string, LineStyle> {
  const order = [...new Set([...all, ...runs])].sort()
  const styles = new Map<string, LineStyle>()
  const taken = new Set<number>()
  order.forEach((run, place) => {
    if (!runs.includes(run)) return
    let index = place % STYLES
    while (taken.has(index) && taken.size < STYLES) index = (index + 1) % STYLES
    taken.add(index)
    styles.set(run, lineStyle(index))
  })
  return styles
}

/** The CSS variable with the colour of a stage. */
export function stageColour(stage: string): string {
  return `var(--stage-${stage.toLowerCase()})`
}
