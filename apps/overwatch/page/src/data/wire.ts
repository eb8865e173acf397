import type { Frame, SeriesFrame } from '../types'

/** The tail of a series, as positions with minimum, mean and maximum. */
export type SeriesTail = SeriesFrame

/** A frame with what it answers. */
export interface FrameAnswer extends Frame {
  run: string
  view: string
  /** Share of the log that is read, below 1 while a long one is being opened. */
  read: number
}

export interface ErrorAnswer {
  error: string
}

export interface FrameRequest {
  run: string
  view: string
  from: number
  stream: string | null
  at: number | null
}
