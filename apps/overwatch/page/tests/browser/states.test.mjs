/** Every state of the page. */
import assert from 'node:assert/strict'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  browser,
  expectNoProblem,
  expectParameter,
  filter,
  look,
  open,
  origin,
  serve,
  text,
} from './browser.mjs'

describe('states', () => {
  it('lists the runs, each with its status in words', async () => {
    const page = await open('/')
    const rows = await page.locator('tbody tr').allInnerTexts()
    assert.equal(rows.length, 11)
    for (const word of ['running', 'completed', 'failed', 'crashed', 'stale', 'unreadable']) {
      assert.ok(
        rows.some((row) => row.includes(word)),
        word,
      )
    }
    await page.context().close()
  })

  it('filters, and says when nothing matches', async () => {
    const page = await open('/')
    await filter(page, 'sixteen')
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1)
    await expectParameter(page, 'filter', 'sixteen')
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
    await look(page, 'failed')
    await page.context().close()
  })

  it('shows that a run crashed, and the command that resumes it', async () => {
    const page = await open('/r/crashed')
    await page.getByText('its process is gone').waitFor()
    assert.match(await text(page, '.banners code'), /esper-train ppo --resume/)
    assert.ok((await page.locator('.banners li').count()) > 0)
    await look(page, 'crashed')
    await page.context().close()
  })

  it('names a log of another version', async () => {
    const page = await open('/r/old')
    await page.getByText('schema version').waitFor()
    await look(page, 'version')
    await page.context().close()
  })

  it('says that there is no such run', async () => {
    const page = await open('/r/nothing')
    await page.getByText("there is no run 'nothing'").waitFor()
    await look(page, 'no-such-run')
    await page.context().close()
  })

  it('says that the token is refused', async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${origin}/r/default`)
    await page.getByText("does not take this browser's token").waitFor()
    await look(page, 'token-refused')
    await page.goto(origin)
    await page.getByText("does not take this browser's token").waitFor()
    await context.close()
  })

  it('says how to start a run where there is none', async () => {
    const page = await open('/', { link: process.env.OVERWATCH_LINK_EMPTY })
    await page.getByRole('heading', { name: 'No runs' }).waitFor()
    assert.match(await text(page, '.notice'), /uv run esper-train ppo/)
    await look(page, 'no-runs')
    await page.context().close()
  })

  it('names the phases of a run that is starting', async () => {
    const page = await open('/r/waiting')
    await page.getByText('The run is starting').waitFor()
    assert.match(await text(page, '.start'), /starting workers[\s\S]*preparing data/)
    await look(page, 'waiting')
    await page.context().close()
  })

  it('does not call a run crashed where its lock says nothing', async () => {
    const page = await open('/r/stale')
    await page.getByText('is unknown here').waitFor()
    assert.equal(await page.locator('.head .badge').first().innerText(), '◐ stale')
    await look(page, 'stale')
    await page.context().close()
  })

  it('names the telemetry level that a panel needs', async () => {
    const page = await open('/r/minimal')
    const needs = page.getByText('needs --telemetry-level normal')
    await needs.nth(1).waitFor()
    await look(page, 'level-hosts')
    await page.keyboard.press('l')
    await page.getByText('Latest decisions').waitFor()
    await needs.first().waitFor()
    await look(page, 'level-policy')
    await page.keyboard.press('l')
    await page.getByText('not recorded: host epochs per second; needs').waitFor()
    await look(page, 'level-charts')
    await page.context().close()
  })

  it('counts what a pause holds back, and shows it afterwards', async () => {
    const page = await open('/r/growing')
    await page.getByRole('heading', { name: 'Best episodes' }).waitFor()
    await page.keyboard.press('Space')
    await page.getByText('0 newer events are held back').waitFor()
    appendFileSync(
      join(process.env.OVERWATCH_RUNS, 'growing/events.jsonl'),
      readFileSync(join(process.env.OVERWATCH_RUNS, 'growing/rest')),
    )
    await page.getByText('100 newer events are held back').waitFor()
    await look(page, 'paused')
    await page.getByRole('button', { name: 'Go on', exact: true }).click()
    await page.getByText('held back').waitFor({ state: 'detached' })
    await page.getByText('499 / 499').waitFor()
    await page.context().close()
  })

  it('shows older lines of the log when they are asked for, and filters them', async () => {
    const page = await open('/r/default#log')
    const rows = page.locator('tbody tr')
    await rows.nth(99).waitFor()
    assert.equal(await rows.count(), 100)
    await page.getByRole('button', { name: 'Show older lines' }).click()
    await page.getByRole('button', { name: 'Show older lines' }).waitFor({ state: 'detached' })
    assert.ok((await rows.count()) > 250)
    await look(page, 'log-older')
    await filter(page, 'checkpoint')
    await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 2)
    await page.context().close()
  })

  it('says which moment a replay shows', async () => {
    const page = await open('/r/default?at=300')
    await page.getByText('Replay: event 300 of').waitFor()
    await look(page, 'replay')
    await page.getByRole('button', { name: 'Back to live' }).click()
    await page.getByText('Replay: event').waitFor({ state: 'detached' })
    await page.context().close()
  })
})

describe('without the server', () => {
  it('keeps the last view, dims it and counts down; a new server refuses the old token', async () => {
    const first = serve('0')
    const page = await open('/r/default', { link: await first.link })
    await page.getByRole('heading', { name: 'Best episodes' }).waitFor()
    first.process.kill('SIGKILL')
    await page.getByText(/Next attempt in \d+ s/).waitFor()
    assert.equal(await page.locator('.card').count(), 4)
    assert.ok(await page.locator('.old').count())
    await look(page, 'reconnecting')
    await page.getByRole('button', { name: 'Try now' }).click()
    await page.getByText(/Next attempt in \d+ s/).waitFor()
    const second = serve(new URL(page.url()).port)
    try {
      await page.getByText('Token refused; what is shown is old').waitFor()
      await look(page, 'token-refused-later')
      await page.goto(await second.link)
      await page.locator('tbody tr').first().waitFor()
    } finally {
      second.process.kill()
    }
    await page.context().close()
  })
})

expectNoProblem()
