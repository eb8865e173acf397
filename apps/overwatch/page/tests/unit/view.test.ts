import { describe, expect, it } from 'vitest'
import { emptyView, withFrame } from '../../src/data/view'
import type { FrameAnswer } from '../../src/data/wire'

function frame(changes: Partial<FrameAnswer>): FrameAnswer {
  return {
    run: 'a',
    view: 'hosts',
    stream: 's',
    from: -1,
    to: 0,
    read: 1,
    panels: {},
    series: {},
    ...changes,
  }
}

const header = { at: 1, value: { round: 1 } } as never
const later = { at: 5, value: { round: 2 } } as never
const hosts = { at: 2, value: { hosts: [], empty: null } }

describe('withFrame', () => {
  it('replaces changed panels and keeps the others as the same objects', () => {
    const first = withFrame(emptyView(), frame({ to: 3, panels: { header, hosts } }))
    const second = withFrame(first, frame({ from: 3, to: 5, panels: { header: later } }))
    expect(second.panels.hosts).toBe(first.panels.hosts)
    expect(second.panels.header?.round).toBe(2)
    expect(second.to).toBe(5)
  })

  it('forgets everything with a whole view', () => {
    const first = withFrame(emptyView(), frame({ panels: { header, hosts } }))
    const second = withFrame(first, frame({ stream: 'other', panels: { header } }))
    expect(second.panels.hosts).toBeUndefined()
    expect(second.stream).toBe('other')
  })

  it('replaces the tail of a series from its start on', () => {
    const point = (at: number): [number, number, number, number, number, number] => [
      at,
      at,
      0,
      0,
      0,
      0,
    ]
    const first = withFrame(
      emptyView(),
      frame({ series: { kl: { start: 0, buckets: [point(1), point(2), point(3)] } } }),
    )
    const second = withFrame(
      first,
      frame({ from: 0, series: { kl: { start: 2, buckets: [point(4), point(5)] } } }),
    )
    expect(second.series.get('kl')?.map(([at]) => at)).toEqual([1, 2, 4, 5])
    expect(first.series.get('kl')?.length).toBe(3)
  })
})
