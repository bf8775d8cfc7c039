// What a secretary does with the app, as steps that tests share.

export const road = (browser, url, name) => browser.go(url, `#/walk/${encodeURIComponent('~' + name)}`)
export const shown = (browser, text) => browser.page.locator('.toast', { hasText: text }).waitFor()
export const place = (browser, to) => browser.page.evaluate((hash) => { location.hash = hash }, to)
export async function openField(browser, record, field) {
  await place(browser, `/card/${record}`)
  await browser.page.locator(`[data-field=${field}]`).click()
}
export async function change(browser, record, field, text) {
  await openField(browser, record, field)
  await browser.page.locator('dialog .input').fill(text)
  await browser.page.getByRole('button', { name: '保存', exact: true }).click()
  await browser.page.locator('dialog').waitFor({ state: 'detached' })
}
export const records = async (browser) => {
  await browser.page.locator('li.door').first().waitFor()
  return browser.page.locator('li.door').evaluateAll((rows) => rows.map((row) => row.dataset.record))
}
export const unsent = (browser) => browser.page.evaluate(() => window.__lianka.unsent())
export async function tapSync(browser) {
  await place(browser, '/sync')
  await browser.page.locator('[data-sync]').click()
  await browser.page.waitForFunction(() => window.__lianka?.idle() && document.querySelector('.notice.good, .notice.bad'), undefined, { timeout: 60_000 })
  return browser.page.locator('.notice.good, .notice.bad').first().innerText()
}
