import { describe, expect, it } from 'vitest'
import { formatAddress, parseAddress } from '../../src/data/address'

function parsed(path: string) {
  return parseAddress(new URL(path, 'http://localhost'))
}

describe('the address', () => {
  it.each([
    '/',
    '/?filter=mnist',
    '/r/run-1#hosts',
    '/r/run-1?host=3&at=120#policy',
    '/r/run-1?x=time&y=log&smooth=0.5&zoom=2_7.5#charts',
    '/r/a%20b%2Fc#log',
    '/compare?r=a&r=b&x=step',
  ])('%s is the same after a round trip', (path) => {
    expect(formatAddress(parsed(path))).toBe(path)
  })

  it('takes the default for what it does not understand', () => {
    const address = parsed('/r/a?host=-1&at=x&zoom=9_1&smooth=7&x=moon#nowhere')
    expect(address).toMatchObject({
      host: 0,
      at: null,
      zoom: null,
      smooth: 0.95,
      axis: 'round',
      tab: 'hosts',
    })
  })
})
