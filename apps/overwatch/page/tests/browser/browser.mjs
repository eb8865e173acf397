/**
 * The page in Debian's Chromium, over a real server. `apps/overwatch/tests/test_browser.py` starts
 * the servers and gives their links in OVERWATCH_LINK, OVERWATCH_LINK_MANY and OVERWATCH_LINK_EMPTY.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { chromium } from 'playwright-core'

export const link = process.env.OVERWATCH_LINK
export const origin = new URL(link).origin
export const axe = readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
)

/** Where pictures go, for people to look at; nowhere if it is not set. */
const pictures = process.env.OVERWATCH_PICTURES
const problems = []

export let browser

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox'],
  })
})

after(() => browser.close())

/** Opens an address of the page in a browser of its own that has followed the link. */
export async function open(path, options = {}) {
  const { checked = false, link: start = link, ...rest } = options
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    bypassCSP: checked,
    ...rest,
  })
  const page = await context.newPage()
  page.on('pageerror', (error) => problems.push(`${path}: ${error.stack}`))
  page.on('console', (message) => {
    // The browser itself logs answers that are refused and lost connections; the page shows them.
    const ours = !/^(Failed to load resource|WebSocket connection)/.test(message.text())
    if (message.type() === 'error' && ours) problems.push(`${path}: ${message.text()}`)
  })
  await page.goto(start)
  await page.waitForSelector('table, .notice')
  if (path !== '/') await page.goto(new URL(start).origin + path)
  return page
}

/** Starts a server of its own for a test, over a folder of runs; its link comes when it listens. */
export function serve(port, folder = process.env.OVERWATCH_RUNS) {
  const [program, ...rest] = JSON.parse(process.env.OVERWATCH_COMMAND)
  const started = spawn(program, [...rest, folder, '--port', port])
  const link = new Promise((found) => {
    started.stdout.once('data', (printed) => found(/http\S+/.exec(String(printed))[0]))
  })
  return { process: started, link }
}

/** Presses the key of the filter, and types into it once it has the focus. */
export async function filter(page, typed) {
  await page.keyboard.press('/')
  await page.locator('input:focus').waitFor()
  await page.keyboard.type(typed)
}

/** Waits until the address has a parameter. */
export async function expectParameter(page, name, value) {
  await page.waitForURL((url) => url.searchParams.get(name) === value)
}

/** Takes a picture of a state. */
export async function look(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) })
}

export function text(page, selector) {
  return page.locator(selector).innerText()
}

/** How far a page reaches beyond the window, in pixels. */
export function overhang(page) {
  return page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  )
}

/** The last test of a file: nothing went wrong in the browser unseen. */
export function expectNoProblem() {
  describe('the browser', () => {
    it('reported no error', () => {
      assert.deepEqual(problems, [])
    })
  })
}
