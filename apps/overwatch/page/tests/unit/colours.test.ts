import { describe, expect, it } from 'vitest'
import { COLOURS, comparedStyles, lineStyle, runStyles } from '../../src/data/colours'

const runs = Array.from({ length: 70 }, (_, number) => `run-${String(number).padStart(3, '0')}`)

function key(style: ReturnType<typeof lineStyle> | undefined): string {
  return `${style?.variable ?? ''} ${style?.dash.join(' ') ?? ''}`
}

describe('styles of lines', () => {
  it('give lines beyond the colours another dash pattern', () => {
    const first = Array.from({ length: 32 }, (_, place) => lineStyle(place))
    expect(new Set(first.map(key)).size).toBe(32)
    expect(lineStyle(0).dash).toEqual([])
    expect(lineStyle(COLOURS).variable).toBe(lineStyle(0).variable)
    expect(lineStyle(COLOURS).dash).not.toEqual([])
  })

  it('are the same in a comparison as in the list, in any order', () => {
    const list = runStyles(runs)
    const chosen = ['run-010', 'run-003', 'run-018']
    const styles = comparedStyles(chosen, runs)
    for (const run of chosen) expect(styles.get(run)).toEqual(list.get(run))
    expect(comparedStyles([...chosen].reverse(), runs)).toEqual(styles)
  })

  it('differ in a comparison also where those of the list are equal', () => {
    const chosen = ['run-001', 'run-033', 'run-065']
    expect(new Set(chosen.map((run) => key(runStyles(runs).get(run)))).size).toBe(1)
    expect(new Set([...comparedStyles(chosen, runs).values()].map(key)).size).toBe(3)
  })

  it('do not change when a later run comes', () => {
    const before = runStyles(runs)
    const after = runStyles([...runs, 'run-999'])
    for (const run of runs) expect(after.get(run)).toEqual(before.get(run))
  })

  it('know runs that the list does not have', () => {
    expect(comparedStyles(['gone'], runs).get('gone')).toBeDefined()
  })
})
