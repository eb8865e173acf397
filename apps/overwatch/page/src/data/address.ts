import { reactive } from 'vue'

export const TABS = ['hosts', 'policy', 'charts', 'log'] as const
export type Tab = (typeof TABS)[number]

export const AXES = ['round', 'step', 'time'] as const
export type Axis = (typeof AXES)[number]

/** What the page shows; all of it is in the browser's address. */
export interface Address {
  page: 'runs' | 'run' | 'compare'
  run: string
  runs: string[]
  tab: Tab
  host: number
  axis: Axis
  log: boolean
  smooth: number
  zoom: [number, number] | null
  filter: string
  at: number | null
}

export function parseAddress(url: URL): Address {
  const query = url.searchParams
  const parts = url.pathname.split('/').filter(Boolean).map(decodeURIComponent)
  const page = parts[0] === 'r' ? 'run' : parts[0] === 'compare' ? 'compare' : 'runs'
  return {
    page,
    run: page === 'run' ? (parts[1] ?? '') : '',
    runs: query.getAll('r'),
    tab: oneOf(TABS, url.hash.slice(1)),
    host: whole(query.get('host')) ?? 0,
    axis: oneOf(AXES, query.get('x') ?? ''),
    log: query.get('y') === 'log',
    smooth: Math.min(0.95, Math.max(0, Number(query.get('smooth')) || 0)),
    zoom: range(query.get('zoom')),
    filter: query.get('filter') ?? '',
    at: whole(query.get('at')),
  }
}

export function formatAddress(address: Address): string {
  const query = new URLSearchParams()
  if (address.page === 'compare') address.runs.forEach((run) => query.append('r', run))
  if (address.page === 'run' && address.host !== 0) query.set('host', String(address.host))
  if (address.axis !== 'round') query.set('x', address.axis)
  if (address.log) query.set('y', 'log')
  if (address.smooth > 0) query.set('smooth', String(address.smooth))
  if (address.zoom !== null) query.set('zoom', address.zoom.join('_'))
  if (address.filter !== '') query.set('filter', address.filter)
  if (address.at !== null) query.set('at', String(address.at))
  const path = {
    runs: '/',
    run: `/r/${encodeURIComponent(address.run)}`,
    compare: '/compare',
  }[address.page]
  const text = query.toString()
  const hash = address.page === 'run' ? `#${address.tab}` : ''
  return path + (text === '' ? '' : `?${text}`) + hash
}

export const address = reactive(parseAddress(new URL(location.href)))

/** Changes what is shown without a new entry in the history, for example a zoom. */
export function adjust(changes: Partial<Address>): void {
  Object.assign(address, changes)
  history.replaceState(null, '', formatAddress(address))
}

/** Goes to another page or tab; the browser's back button leads here again. */
export function go(changes: Partial<Address>): void {
  Object.assign(address, changes)
  history.pushState(null, '', formatAddress(address))
}

addEventListener('popstate', () => {
  Object.assign(address, parseAddress(new URL(location.href)))
})

function oneOf<T extends string>(values: readonly [T, ...T[]], text: string): T {
  return values.find((value) => value === text) ?? values[0]
}

function whole(text: string | null): number | null {
  return text !== null && /^\d{1,12}$/.test(text) ? Number(text) : null
}

function range(text: string | null): [number, number] | null {
  const [low, high] = (text ?? '').split('_').map(Number)
  const valid = low !== undefined && high !== undefined && Number.isFinite(low) && low < high
  return valid && Number.isFinite(high) ? [low, high] : null
}
