/** The page as `npm run dev` serves it, with its proxy to the server. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { expectNoProblem, open, serve } from './browser.mjs'

/** Returns a port that nothing listens on. */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

describe('the dev server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'overwatch-dev-'))
  const run = join(folder, 'a')
  const lines = readFileSync(join(process.env.OVERWATCH_RUNS, 'default/events.jsonl'), 'utf8')
    .split('\n')
    .map((line) => `${line}\n`)
  let server
  let dev
  let link

  before(async () => {
    mkdirSync(run)
    writeFileSync(join(run, 'config.json'), '{}')
    writeFileSync(join(run, 'events.jsonl'), lines.slice(0, 300).join(''))
    server = serve('0', folder)
    const { origin } = new URL(await server.link)
    const own = `http://127.0.0.1:${await freePort()}`
    // A group of its own, so that npx and what it starts end together.
    dev = spawn('npx', ['vite', '--host', '127.0.0.1', '--port', new URL(own).port], {
      detached: true,
      env: { ...process.env, OVERWATCH_SERVER: origin },
    })
    await new Promise((resolve, reject) => {
      dev.stdout.on('data', (text) => String(text).includes('ready in') && resolve())
      dev.once('exit', () => reject(new Error('the dev server ended')))
    })
    link = (await server.link).replace(origin, own)
  })

  after(() => {
    process.kill(-dev.pid)
    server.process.kill()
    rmSync(folder, { recursive: true })
  })

  it('takes the token, lists the runs, and follows one over its WebSocket', async () => {
    const page = await open('/', { link })
    await page.getByRole('link', { name: 'a', exact: true }).waitFor()
    const sockets = []
    page.on('websocket', (socket) => sockets.push(socket.url()))
    await page.goto(`${new URL(link).origin}/r/a`)
    await page.getByText('299 / 299').waitFor()
    appendFileSync(join(run, 'events.jsonl'), lines.slice(300, 350).join(''))
    await page.getByText('349 / 349').waitFor()
    assert.ok(sockets.includes(`ws://${new URL(link).host}/ws`), sockets.join())
    await page.context().close()
  })
})

expectNoProblem()
