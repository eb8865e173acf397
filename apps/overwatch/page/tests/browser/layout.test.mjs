/** The page in windows of every size, with much to show, and for a keyboard alone. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { expectNoProblem, look, open, origin, overhang } from './browser.mjs'

describe('layout', () => {
  for (const width of [360, 640, 1440, 2200]) {
    for (const run of ['sixteen', 'many']) {
      it(`has no sideways scroll with ${run} at ${width} pixels`, async () => {
        const page = await open(`/r/${run}`, { viewport: { width, height: 900 } })
        await page.locator('.card').first().waitFor()
        assert.equal(await overhang(page), 0)
        await look(page, `hosts-${run}-${width}`)
        await page.context().close()
      })
    }
  }

  it('shows a long name whole', async () => {
    const name = `20260101-120000-${'a-task-with-a-very-long-name-'.repeat(4)}0123abcd`
    for (const width of [360, 1440]) {
      const page = await open(`/r/${name}`, { viewport: { width, height: 900 } })
      await page.locator('.card').first().waitFor()
      assert.equal(await overhang(page), 0)
      await look(page, `long-name-${width}`)
      await page.goto(`${origin}/`)
      await page.getByRole('link', { name }).waitFor()
      assert.equal(await overhang(page), 0)
      await look(page, `list-${width}`)
      await page.goto(`${origin}/compare?r=${name}&r=default`)
      await page.getByRole('heading', { name: 'Figures' }).waitFor()
      assert.equal(await overhang(page), 0)
      await look(page, `compare-${width}`)
      await page.context().close()
    }
  })

  it('draws some of a thousand runs, and more on demand', async () => {
    const page = await open('/', { link: process.env.OVERWATCH_LINK_MANY })
    await page.locator('tbody tr').nth(199).waitFor()
    assert.equal(await page.locator('tbody tr').count(), 200)
    await look(page, 'many-runs')
    await page.getByRole('button', { name: 'show more' }).click()
    await page.locator('tbody tr').nth(399).waitFor()
    await page.getByLabel('filter').fill('000999')
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1)
    await page.context().close()
  })

  for (const options of [
    { colorScheme: 'light' },
    { contrast: 'more' },
    { reducedMotion: 'reduce' },
  ]) {
    const [name] = Object.values(options)
    it(`is drawn for people who ask for ${name}`, async () => {
      for (const tab of ['hosts', 'policy', 'charts', 'log']) {
        const page = await open(`/r/default#${tab}`, options)
        await page.locator(`#tab-${tab}[aria-selected=true]`).waitFor()
        await page.waitForTimeout(500)
        await look(page, `${tab}-${name}`)
        await page.context().close()
      }
    })
  }
})

describe('a keyboard alone', () => {
  it('opens a run, walks its tabs and goes back', async () => {
    const page = await open('/')
    await page.keyboard.press('j')
    await page.keyboard.press('j')
    const chosen = await page.locator('tr.selected a').innerText()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: chosen }).waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('heading', { name: 'Runs' }).waitFor()
    await page.context().close()
  })

  it('presses the button that has the focus, not the key of the page', async () => {
    const page = await open('/r/default')
    await page.locator('.card').first().waitFor()
    await page.locator('#tab-log').focus()
    await page.keyboard.press('Space')
    await page.getByText('Log: seeds').waitFor()
    assert.equal(await page.getByText('held back').count(), 0)
    await page.context().close()
  })

  it('shows where the focus is', async () => {
    const page = await open('/')
    await page.keyboard.press('Tab')
    const outline = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement)
      return `${style.outlineStyle} ${style.outlineWidth}`
    })
    assert.equal(outline, 'solid 2px')
    await page.context().close()
  })
})

expectNoProblem()
