import type { LogLine, RunComparison, RunsList } from '../types'
import { allVisible } from './text'
import type { ErrorAnswer, FrameAnswer } from './wire'

/** An answer other than the one that was asked for; the text is for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    text: string,
  ) {
    super(text)
  }
}

async function get<T>(path: string): Promise<T> {
  let response: Response
  try {
    response = await fetch(path)
  } catch {
    throw new ApiError(0, 'the server does not answer')
  }
  const body = allVisible((await response.json()) as T | ErrorAnswer)
  if (!response.ok) throw new ApiError(response.status, (body as ErrorAnswer).error)
  return body as T
}

export interface RunList extends RunsList {
  root: string
}

export function listRuns(): Promise<RunList> {
  return get('/api/runs')
}

/** What changed of a view since the frame that `known` ended with; -1 for all of it. */
export function getFrame(
  run: string,
  view: string,
  known: { to: number; stream: string },
): Promise<FrameAnswer> {
  const query = new URLSearchParams({ view, from: String(known.to), stream: known.stream })
  return get(`/api/runs/${encodeURIComponent(run)}/frame?${query.toString()}`)
}

export function compareRuns(runs: readonly string[]): Promise<RunComparison> {
  const query = new URLSearchParams(runs.map((run) => ['r', run]))
  return get(`/api/compare?${query.toString()}`)
}

/** Lines of the log that its panel does not have, the oldest first. */
export interface OlderLines {
  lines: LogLine[]
  /** Number of the lines before them. */
  older: number
  /** Share of the log that was read; below 1 the lines are still to come. */
  read: number
}

export function olderLines(run: string, before: number | null): Promise<OlderLines> {
  const query = before === null ? '' : `?before=${String(before)}`
  return get(`/api/runs/${encodeURIComponent(run)}/log${query}`)
}

/** Sequence numbers of the ends of rounds. */
export async function roundEnds(run: string): Promise<number[]> {
  const path = `/api/runs/${encodeURIComponent(run)}/events?kind=round_completed&limit=1000`
  const { events } = await get<{ events: { sequence: number }[] }>(path)
  return events.map((event) => event.sequence)
}
