/**
 * The page in Debian's Chromium, over a real server. `apps/overwatch/tests/test_browser.py` starts
 * the server, and gives its link in OVERWATCH_LINK and its process in OVERWATCH_PROCESS.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { chromium } from 'playwright-core'

const link = process.env.OVERWATCH_LINK
const origin = new URL(link).origin
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let browser
const problems = []

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox'],
  })
})

after(() => browser.close())

/** Opens an address of the page in a browser of its own that has followed the link. */
async function open(path, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    bypassCSP: options.axe ?? false,
    ...options,
  })
  const page = await context.newPage()
  page.on('pageerror', (error) => problems.push(`${path}: ${error.message}`))
  page.on('console', (message) => {
    // The browser itself logs answers that are refused and lost connections; the page shows them.
    const ours = !/^(Failed to load resource|WebSocket connection)/.test(message.text())
    if (message.type() === 'error' && ours) problems.push(`${path}: ${message.text()}`)
  })
  await page.goto(link)
  await page.waitForSelector('table, .empty')
  if (path !== '/') await page.goto(origin + path)
  return page
}

const text = (page, selector) => page.locator(selector).innerText()

describe('states', () => {
  it('lists the runs, each with its status in words', async () => {
    const page = await open('/')
    const rows = await page.locator('tbody tr').allInnerTexts()
    assert.equal(rows.length, 5)
    for (const word of ['completed', 'failed', 'crashed', 'unreadable']) {
      assert.ok(
        rows.some((row) => row.includes(word)),
        word,
      )
    }
    await page.context().close()
  })

  it('filters, and says when nothing matches', async () => {
    const page = await open('/')
    await page.keyboard.press('/')
    await page.keyboard.type('sixteen')
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1)
    assert.equal(new URL(page.url()).searchParams.get('filter'), 'sixteen')
    await page.keyboard.type('!')
    await page.getByText('No run matches').waitFor()
    await page.context().close()
  })

  it('shows why a run failed, with its hostile text as text', async () => {
    const page = await open('/r/everything')
    await page.getByText('The run failed').waitFor()
    const shown = await text(page, '.banners')
    assert.ok(shown.includes('<img src=x onerror=alert(1)>'))
    assert.ok(shown.includes('\\x1b[31m'))
    assert.equal(await page.locator('img').count(), 0)
    await page.context().close()
  })

  it('shows that a run crashed, and the command that resumes it', async () => {
    const page = await open('/r/crashed')
    await page.getByText('its process is gone').waitFor()
    assert.match(await text(page, '.banners code'), /esper-train ppo --resume/)
    await page.context().close()
  })

  it('names a log of another version', async () => {
    const page = await open('/r/old')
    await page.getByText('schema version').waitFor()
    await page.context().close()
  })

  it('says that there is no such run', async () => {
    const page = await open('/r/nothing')
    await page.getByText("there is no run 'nothing'").waitFor()
    await page.context().close()
  })

  it('says that the token is refused', async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${origin}/r/default`)
    await page.getByText("does not take this browser's token").waitFor()
    await page.goto(origin)
    await page.getByText("does not take this browser's token").waitFor()
    await context.close()
  })
})

describe('keys', () => {
  it('selects hosts by digit and by number', async () => {
    const page = await open('/r/sixteen')
    await page.locator('.card').nth(15).waitFor()
    await page.keyboard.press('3')
    await page.getByText('Host 2 ·').waitFor()
    for (const key of ['g', '1', '2', 'Enter']) await page.keyboard.press(key)
    await page.getByText('Host 12 ·').waitFor()
    assert.equal(new URL(page.url()).searchParams.get('host'), '12')
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
    await page.getByRole('button', { name: 'go on' }).waitFor()
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
    await page.keyboard.press('/')
    await page.keyboard.type('t1')
    assert.equal(new URL(page.url()).searchParams.get('filter'), 't1')
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

  it('compares the runs that it names', async () => {
    const page = await open('/compare?r=default&r=everything')
    await page.getByText('Compare 2 runs').waitFor()
    await page.locator('.legend').first().waitFor()
    const legend = await text(page, '.legend >> nth=0')
    assert.match(legend, /default[\s\S]*everything/)
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
  ]
  for (const path of [...views, '/compare?r=default&r=sixteen']) {
    for (const colorScheme of ['dark', 'light']) {
      it(`${path} in ${colorScheme} has no violation`, async () => {
        const page = await open(path, { colorScheme, axe: true })
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

describe('layout', () => {
  for (const width of [360, 800, 1440, 2200]) {
    it(`has no sideways scroll at ${width} pixels`, async () => {
      const page = await open('/r/sixteen', { viewport: { width, height: 900 } })
      await page.locator('.card').first().waitFor()
      const over = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      )
      assert.equal(over, 0)
      await page.context().close()
    })
  }
})

describe('without the server', () => {
  it('keeps the last view, dims it and counts down', async () => {
    const page = await open('/r/default')
    await page.getByRole('heading', { name: 'Best episodes' }).waitFor()
    process.kill(Number(process.env.OVERWATCH_PROCESS), 'SIGKILL')
    await page.getByText(/Next attempt in \d+ s/).waitFor()
    assert.equal(await page.locator('.card').count(), 4)
    assert.ok(await page.locator('.old').count())
    await page.getByRole('button', { name: 'Try now' }).click()
    await page.getByText(/Next attempt in \d+ s/).waitFor()
    await page.context().close()
  })
})

describe('the browser', () => {
  it('reported no error', () => {
    assert.deepEqual(problems, [])
  })
})
