import type { Axis } from '../data/address'
import type { LineStyle } from '../data/colours'
import { toNumber } from '../data/numbers'
import type { Point as Bucket } from '../types'

export interface Point {
  x: number
  /** NaN where no sample was finite. */
  mean: number
  low: number
  high: number
  /** Samples that are NaN or infinite. */
  unfinished: number
}

/** What the positions of an axis are. */
export const AXIS_NAMES: Readonly<Record<Axis, string>> = {
  round: 'round',
  step: 'step',
  time: 'seconds',
}

/** One line of a chart, with the extremes of each bucket. */
export interface Curve {
  name: string
  /** `null` for the only line of a chart. */
  style: LineStyle | null
  points: readonly Point[]
  latest: number | null
}

/** Turns a position of a series (a round) into a position on the axis. */
export type Scale = (round: number) => number

export function curve(
  name: string,
  style: LineStyle | null,
  buckets: readonly Bucket[],
  scale: Scale = (round) => round,
): Curve {
  const points = buckets.map(([, last, low, mean, high, unfinished]) => ({
    x: scale(last),
    mean: toNumber(mean),
    low: toNumber(low),
    high: toNumber(high),
    unfinished,
  }))
  return { name, style, points, latest: points.at(-1)?.mean ?? null }
}

/**
 * Returns how an axis places rounds.
 *
 * @param axis By round, by step of the policy over all hosts, or by seconds of work.
 * @param steps Steps of one round, over all hosts.
 * @param worked The series `seconds_worked`.
 */
export function scaleOf(axis: Axis, steps: number, worked: readonly Bucket[]): Scale {
  if (axis === 'step') return (round) => round * steps
  if (axis === 'round' || worked.length === 0) return (round) => round
  const rounds = worked.map(([, last]) => last)
  const seconds = worked.map(([, , , , maximum]) => toNumber(maximum))
  return (round) => interpolate(rounds, seconds, round)
}

/** Linear between the known positions, and on in the direction of the last two. */
export function interpolate(xs: readonly number[], ys: readonly number[], x: number): number {
  const [x0 = 0, y0 = 0] = [xs[0], ys[0]]
  if (xs.length < 2 || x <= x0) return x0 === 0 ? y0 : (y0 * x) / x0
  let index = xs.findIndex((each) => each >= x)
  if (index <= 0) index = xs.length - 1
  const [a = 0, b = 0] = [xs[index - 1], xs[index]]
  const [c = 0, d = 0] = [ys[index - 1], ys[index]]
  return b === a ? d : c + ((d - c) * (x - a)) / (b - a)
}

export interface Columns {
  /** Positions, then for each curve: mean, raw mean, high, low; `null` is a gap. */
  table: (number | null)[][]
  /** Samples that are NaN or infinite. */
  unfinished: number
}

/** Joins curves on their positions, as uPlot wants them. */
export function columns(curves: readonly Curve[], log: boolean): Columns {
  const xs = [...new Set(curves.flatMap((each) => each.points.map((point) => point.x)))]
  xs.sort((a, b) => a - b)
  const index = new Map(xs.map((x, position) => [x, position]))
  const table: (number | null)[][] = [xs]
  let unfinished = 0
  for (const { points } of curves) {
    const mean = new Array<number | null | undefined>(xs.length).fill(undefined)
    const high = [...mean]
    const low = [...mean]
    for (const point of points) {
      const position = index.get(point.x) ?? 0
      mean[position] = drawable(point.mean, log)
      high[position] = drawable(point.high, log)
      low[position] = drawable(point.low, log)
      unfinished += point.unfinished
    }
    // uPlot joins over `undefined` (no sample of this curve here) and leaves a gap at `null`.
    table.push(...([mean, mean, high, low] as (number | null)[][]))
  }
  return { table, unfinished }
}

/** Exponential moving average, debiased; gaps stay gaps. */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  let sum = 0
  let total = 0
  return values.map((value) => {
    if (value === null || value === undefined) return value
    sum = weight * sum + (1 - weight) * value
    total = weight * total + (1 - weight)
    return sum / total
  })
}

function drawable(value: number, log: boolean): number | null {
  return Number.isFinite(value) && (!log || value > 0) ? value : null
}
