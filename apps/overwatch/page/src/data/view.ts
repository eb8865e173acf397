import type { Panels, Point } from '../types'
import { allVisible } from './text'
import type { FrameAnswer } from './wire'

/** All that the page knows of a run: whole panels, and series of which frames bring the tails. */
export interface RunView {
  stream: string
  to: number
  read: number
  panels: Partial<Panels>
  series: Map<string, Point[]>
}

export function emptyView(): RunView {
  return { stream: '', to: -1, read: 1, panels: {}, series: new Map() }
}

/** Returns the view after a frame; parts that did not change stay the same objects. */
export function withFrame(old: RunView, frame: FrameAnswer): RunView {
  const base = frame.from < 0 ? emptyView() : old
  const values = Object.entries(frame.panels).map(
    ([name, panel]) => [name, allVisible(panel?.value)] as const,
  )
  const series = new Map(base.series)
  for (const [name, tail] of Object.entries(frame.series)) {
    series.set(name, [...(series.get(name) ?? []).slice(0, tail.start), ...tail.buckets])
  }
  return {
    stream: frame.stream,
    to: frame.to,
    read: frame.read,
    panels: { ...base.panels, ...(Object.fromEntries(values) as Partial<Panels>) },
    series,
  }
}
