/**
 * Takes pictures of the page: `node tests/pictures.mjs LINK '[{"path": …, "file": …}]'`. LINK is what
 * the server printed; a picture has the address in it, its file, and perhaps width, height, theme and
 * the text to wait for.
 */
import { chromium } from 'playwright-core'

const [link, wanted] = process.argv.slice(2)
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
})
for (const picture of JSON.parse(wanted)) {
  const { path, file, width = 1440, height = 900, theme = 'dark', text = null, keys = [] } = picture
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme === 'light' ? 'light' : 'dark',
    contrast: theme === 'contrast' ? 'more' : 'no-preference',
    deviceScaleFactor: picture.scale ?? 1,
  })
  const page = await context.newPage()
  await page.goto(link)
  await page.waitForSelector('table, .notice')
  await page.goto(new URL(link).origin + path)
  if (text !== null) await page.getByText(text).first().waitFor()
  for (const key of keys) await page.keyboard.press(key)
  await page.waitForTimeout(1500)
  await page.screenshot({ path: file })
  await context.close()
}
await browser.close()
