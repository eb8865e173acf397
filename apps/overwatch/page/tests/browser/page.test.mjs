/** Keys, addresses and accessibility. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  axe,
  expectNoProblem,
  expectParameter,
  filter,
  look,
  open,
  origin,
  text,
} from './browser.mjs'

describe('keys', () => {
  it('selects hosts by digit and by number', async () => {
    const page = await open('/r/sixteen')
    await page.locator('.card').nth(15).waitFor()
    await page.keyboard.press('3')
    await page.getByText('Host 2 ·').waitFor()
    for (const key of ['g', '1', '2', 'Enter']) await page.keyboard.press(key)
    await page.getByText('Host 12 ·').waitFor()
    await expectParameter(page, 'host', '12')
    await page.context().close()
  })

  it('moves between tabs and rows', async () => {
    const page = await open('/r/default')
    await page.getByRole('heading', { name: 'Best episodes' }).waitFor()
    await page.keyboard.press('j')
    assert.equal(await page.locator('tr.selected td').first().innerText(), '2')
    await page.keyboard.press('k')
    assert.equal(await page.locator('tr.selected td').first().innerText(), '1')
    for (const tab of ['policy', 'charts', 'log', 'hosts']) {
      await page.keyboard.press('l')
      await page.locator(`#tab-${tab}[aria-selected=true]`).waitFor()
    }
    await page.keyboard.press('h')
    await page.locator('#tab-log[aria-selected=true]').waitFor()
    await page.context().close()
  })

  it('opens the help and closes it', async () => {
    const page = await open('/r/default')
    await page.keyboard.press('?')
    await page.getByRole('dialog').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.context().close()
  })

  it('pauses, steps through rounds, and goes back to the list', async () => {
    const page = await open('/r/default')
    await page.getByRole('heading', { name: 'Best episodes' }).waitFor()
    await page.keyboard.press('Space')
    await page.getByRole('button', { name: 'Go on', exact: true }).waitFor()
    await page.keyboard.press('Space')
    await page.keyboard.press('[')
    await page.waitForFunction(() => new URL(location.href).searchParams.has('at'))
    await page.getByText('replay').first().waitFor()
    await page.keyboard.press(']')
    await page.keyboard.press('Escape')
    await page.getByRole('heading', { name: 'Runs' }).waitFor()
    await page.context().close()
  })

  it('changes the theme and keeps it', async () => {
    const page = await open('/')
    await page.keyboard.press('t')
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme)
    assert.equal(await theme(), 'dark')
    await page.reload()
    assert.equal(await theme(), 'dark')
    await page.context().close()
  })

  it('is off while a person types', async () => {
    const page = await open('/r/default#log')
    await page.getByText('Log: seeds').waitFor()
    await filter(page, 't1')
    await expectParameter(page, 'filter', 't1')
    assert.equal(new URL(page.url()).searchParams.get('host'), null)
    await page.context().close()
  })
})

describe('what the address holds', () => {
  it('survives a reload: tab, scale, smoothing, zoom and moment', async () => {
    const path = '/r/default?x=time&y=log&smooth=0.5&zoom=1_2&at=700#charts'
    const page = await open(path)
    await page.locator('#tab-charts[aria-selected=true]').waitFor()
    await page.getByText('reset zoom').waitFor()
    assert.equal(await page.locator('.tools select').inputValue(), 'time')
    await page.reload()
    await page.getByText('reset zoom').waitFor()
    assert.equal(page.url(), origin + path)
    await page.context().close()
  })

  it('keeps a zoom when new data comes', async () => {
    const page = await open('/r/default#charts')
    const chart = page.locator('.u-over').first()
    await chart.waitFor()
    const box = await chart.boundingBox()
    await page.mouse.move(box.x + box.width * 0.2, box.y + 20)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width * 0.7, box.y + 20)
    await page.mouse.up()
    await page.getByText('reset zoom').waitFor()
    const zoom = new URL(page.url()).searchParams.get('zoom')
    await page.waitForTimeout(2500)
    assert.equal(new URL(page.url()).searchParams.get('zoom'), zoom)
    await page.context().close()
  })

  it('shows the curves of a run that cannot be compared, and why', async () => {
    const page = await open('/compare?r=default')
    await page.getByText('Only curves are shown: one run cannot be compared').waitFor()
    await page.locator('.u-over').first().waitFor()
    await page.context().close()
  })

  it('compares runs of one task by figures, settings and hosts that both trained', async () => {
    const page = await open('/compare?r=default&r=sixteen')
    await page.getByRole('heading', { name: 'Figures' }).waitFor()
    const legend = await text(page, '.legend >> nth=0')
    assert.match(legend, /default[\s\S]*sixteen/)
    const settings = await page.locator('[aria-labelledby=configs-title] tbody').first().innerText()
    assert.match(settings, /n_envs\s+4\s+16/)
    await look(page, 'compare')
    await page.getByRole('button', { name: 'Baseline: sixteen' }).click()
    await page.waitForFunction(() => location.search.startsWith('?r=sixteen&r=default'))
    await page.getByText('B − A').waitFor()
    await page.getByRole('button', { name: 'Leave out default' }).click()
    await page.getByText('Compare 1 runs').waitFor()
    await page.context().close()
  })
})

describe('accessibility', () => {
  const views = [
    '/',
    '/r/everything',
    '/r/default#policy',
    '/r/default#charts',
    '/r/everything#log',
    '/r/crashed',
    '/r/waiting',
    '/r/minimal',
  ]
  for (const path of [...views, '/compare?r=default&r=sixteen']) {
    for (const colorScheme of ['dark', 'light']) {
      it(`${path} in ${colorScheme} has no violation`, async () => {
        const page = await open(path, { colorScheme, checked: true })
        await page.waitForTimeout(1500)
        await page.evaluate(axe)
        const found = await page.evaluate(() => globalThis.axe.run())
        const shown = found.violations.map(
          (rule) => `${rule.id}: ${rule.nodes.map((node) => node.html).join('\n  ')}`,
        )
        assert.deepEqual(shown, [])
        await page.context().close()
      })
    }
  }
})

expectNoProblem()
