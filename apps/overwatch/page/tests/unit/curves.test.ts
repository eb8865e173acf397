import { describe, expect, it } from 'vitest'
import { columns, curve, interpolate, scaleOf, smoothed } from '../../src/charts/curves'
import type { Point } from '../../src/types'

const points: Point[] = [
  [1, 1, 2, 3, 4, 0],
  [2, 2, null, null, null, 1],
  [3, 3, -1, 5, 6, 0],
]

describe('curves', () => {
  it('leaves a gap where no sample is finite, and counts it', () => {
    const { table, unfinished } = columns([curve('a', null, points)], false)
    expect(table[0]).toEqual([1, 2, 3])
    expect(table[1]).toEqual([3, null, 5])
    expect(unfinished).toBe(1)
  })

  it('leaves out what a logarithmic scale cannot show', () => {
    const { table } = columns([curve('a', null, points)], true)
    expect(table[4]).toEqual([2, null, null])
  })

  it('joins curves of different positions', () => {
    const other: Point[] = [[2, 4, 0, 1, 2, 0]]
    const { table } = columns([curve('a', null, points), curve('b', null, other)], false)
    expect(table[0]).toEqual([1, 2, 3, 4])
    expect(table[5]).toEqual([undefined, undefined, undefined, 1])
  })

  it('places rounds by step and by time', () => {
    const worked: Point[] = [
      [1, 1, 10, 10, 10, 0],
      [2, 2, 30, 30, 30, 0],
    ]
    expect(scaleOf('step', 96, [])(3)).toBe(288)
    expect(scaleOf('time', 96, worked)(2)).toBe(30)
    expect(scaleOf('time', 96, worked)(3)).toBe(50)
    expect(interpolate([1], [10], 2)).toBe(20)
  })

  it('smooths without a bias at the start, and keeps gaps', () => {
    expect(smoothed([4, 4, null, 4], 0.9)).toEqual(
      [4, 4, null, 4].map((x) => x && expect.closeTo(x)),
    )
  })
})
