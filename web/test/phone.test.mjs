// The phone in a real browser against a real server: what a secretary does with it, and what happens to it meanwhile.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { Browser, forget, newProfile, Office, until } from './harness.mjs'

const SHOPS = 90
const SHOTS = process.env.LIANKA_SHOTS
let office
const profiles = []
const profile = () => { const folder = newProfile(); profiles.push(folder); return folder }

before(async () => {
  office = await Office.start()
  await office.user('wangmin', '王敏')
  await office.user('lihua', '李华')
  await office.roll(SHOPS)
}, { timeout: 180_000 })
after(async () => {
  await office?.stop()
  profiles.forEach(forget)
})

const road = (browser, name) => browser.go(office.proxy.url, `#/walk/${encodeURIComponent('~' + name)}`)
const shown = (browser, text) => browser.page.locator('.toast', { hasText: text }).waitFor()
async function change(browser, record, field, text) {
  const { page } = browser
  await page.evaluate((to) => { location.hash = `/card/${to}` }, record)
  await page.locator(`[data-field=${field}]`).click()
  await page.locator('dialog .input').fill(text)
  await page.getByRole('button', { name: '保存', exact: true }).click()
  await page.locator('dialog').waitFor({ state: 'detached' })
}
const records = async (browser) => {
  await browser.page.locator('li.door').first().waitFor()
  return browser.page.locator('li.door').evaluateAll((rows) => rows.map((row) => row.dataset.record))
}
const unsent = (browser) => browser.page.evaluate(() => window.__lianka.unsent())
async function tapSync(browser) {
  await browser.page.evaluate(() => { location.hash = '/sync' })
  await browser.page.locator('[data-sync]').click()
  await browser.page.waitForFunction(() => window.__lianka.idle() && document.querySelector('.notice.good, .notice.bad'), undefined, { timeout: 60_000 })
  return browser.page.locator('.notice.good, .notice.bad').first().innerText()
}

describe('a phone in a browser', { timeout: 600_000 }, () => {
  test('enrols by a link, fetches its shops, and keeps what it says is saved through a kill', async () => {
    const folder = profile()
    let browser = await Browser.open(folder)
    await browser.enrol(office.proxy.url, await office.code('wangmin'))
    await road(browser, '天平路')
    const doors = await records(browser)
    assert.equal(doors.length, SHOPS / 3 * 2)
    await browser.context.setOffline(true)
    // Sixty edits with no network: thirty names, thirty confirmations. Each counts once the page said so.
    const saved = []
    for (const record of doors.slice(0, 30)) {
      await change(browser, record, 'sign_name', `改名 ${record.slice(-6)}`)
      saved.push(record)
    }
    await browser.page.evaluate(() => { location.hash = '/walk/' + encodeURIComponent('~天平路') })
    for (let at = 0; at < 30; at++) {
      await browser.page.locator('li.door').nth(at).getByRole('button', { name: /无变化/ }).click()
      await browser.page.locator('li.door').nth(at).locator('.done').waitFor()
    }
    assert.equal(await unsent(browser), 60)
    await browser.kill()

    browser = await Browser.open(folder)
    await browser.context.setOffline(true)
    // The shell comes from the service worker's cache: the app opens with no network at all.
    await browser.go(office.proxy.url, '#/sync')
    assert.equal(await unsent(browser), 60)
    await browser.context.setOffline(false)
    await until('everything arrived', async () => (await browser.page.evaluate(() => window.__lianka.idle() ? window.__lianka.unsent() : 1)) === 0 || void (await tapSync(browser)), 60_000)
    const cards = new Map((await office.cards()).map((card) => [card.record, card]))
    for (const record of saved) assert.equal(cards.get(record).sign_name, `改名 ${record.slice(-6)}`)
    assert.equal([...cards.values()].filter((card) => card.last_confirmed_on).length, 30)
    assert.deepEqual(browser.problems, [])
    await browser.close()
  })

  test('has one page at a time, which another can take over', async () => {
    const browser = await Browser.open(profile())
    await browser.enrol(office.proxy.url, await office.code('wangmin'))
    const other = await browser.context.newPage()
    await other.goto(`${office.proxy.url}/app/`)
    await other.getByRole('heading', { name: '已在另一个页面打开' }).waitFor()
    await other.getByRole('button', { name: '在这里使用' }).click()
    await other.locator('nav.tabs').waitFor()
    await browser.page.getByRole('heading', { name: '已在另一个页面打开' }).waitFor()
    await browser.close()
  })

  test('says why a sync failed and what to do, and loses nothing to a server that refuses, cuts or hangs', async () => {
    const browser = await Browser.open(profile())
    await browser.enrol(office.proxy.url, await office.code('wangmin'))
    await road(browser, '康平路')
    const [record] = await records(browser)
    try {
      for (const [mode, words] of [['502', '服务器暂时不能用'], ['cut', '连'], ['hang', '连不上街道的服务器']]) {
        office.proxy.mode = mode
        await change(browser, record, 'opening_hours', `08:00-20:00 ${mode}`)
        const said = await tapSync(browser)
        assert.match(said, new RegExp(words), mode)
        assert.ok((await unsent(browser)) > 0, mode)
      }
    } finally {
      office.proxy.mode = 'pass'
    }
    assert.match(await tapSync(browser), /已到街道/)
    assert.equal(await unsent(browser), 0)
    const card = (await office.cards()).find((one) => one.record === record)
    assert.equal(card.opening_hours, '08:00-20:00 hang')
    await browser.close()
  })

  test('undoes, visits, adds, and settles what two phones wrote', async () => {
    const mine = await Browser.open(profile())
    await mine.enrol(office.proxy.url, await office.code('wangmin'))
    const theirs = await Browser.open(profile())
    await theirs.enrol(office.proxy.url, await office.code('lihua'))
    await road(mine, '康平路')
    const [, record, another] = await records(mine)
    // Both change the same sign while neither has a network.
    await mine.context.setOffline(true)
    await theirs.context.setOffline(true)
    await change(mine, record, 'sign_name', '王敏看到的店名')
    await theirs.go(office.proxy.url)
    await change(theirs, record, 'sign_name', '李华看到的店名')
    await theirs.context.setOffline(false)
    // Being online again is enough.
    await until('the other phone handed over', async () => (await unsent(theirs)) === 0)
    // An edit is taken back before it is sent.
    await change(mine, another, 'category', '错了')
    await mine.page.locator('.toast .undo').click()
    await shown(mine, '已撤销')
    // A visit in three taps, and a contact.
    await mine.page.getByRole('button', { name: '记一次走访' }).click()
    await mine.page.getByText('上门', { exact: true }).click()
    await mine.page.getByText('见到负责人', { exact: true }).click()
    await mine.page.getByRole('button', { name: '保存', exact: true }).click()
    await shown(mine, '走访已保存')
    await mine.page.getByRole('button', { name: '添加联系人' }).click()
    await mine.page.locator('dialog .input').first().fill('新来的店员')
    await mine.page.getByRole('button', { name: '保存', exact: true }).click()
    await mine.page.getByText('新来的店员').first().waitFor()
    await mine.context.setOffline(false)
    await tapSync(mine)
    await until('the phone agrees', async () => (await unsent(mine)) === 0)
    // The conflict comes as two cards, none chosen; choosing settles it.
    await mine.page.evaluate((to) => { location.hash = `/card/${to}` }, record)
    await mine.page.locator('[data-field=sign_name]').click()
    const choices = mine.page.locator('dialog .choice')
    await choices.first().waitFor()
    assert.equal(await choices.count(), 3)
    assert.equal(await mine.page.locator('dialog input:checked').count(), 0)
    await choices.filter({ hasText: '李华看到的店名' }).click()
    await mine.page.getByRole('button', { name: '采用', exact: true }).click()
    await mine.page.locator('dialog').waitFor({ state: 'detached' })
    await tapSync(mine)
    await until('the choice arrived', async () => (await unsent(mine)) === 0)
    const cards = new Map((await office.cards()).map((card) => [card.record, card]))
    assert.equal(cards.get(record).sign_name, '李华看到的店名')
    assert.notEqual(cards.get(another).category, '错了')
    assert.ok(cards.get(another).contacts.some((contact) => contact.name === '新来的店员'))
    assert.deepEqual([...mine.problems, ...theirs.problems], [])
    await mine.close()
    await theirs.close()
  })

  test('can be read by everybody: axe on every screen, both languages, largest text, 320 pixels', async () => {
    const browser = await Browser.open(profile(), { width: 320, height: 700 })
    const { page } = browser
    const found = []
    await browser.go(office.proxy.url)
    found.push(...(await browser.axe('start')))
    await browser.enrol(office.proxy.url, await office.code('lihua'))
    await road(browser, '天平路')
    const [record] = await records(browser)
    const places = ['/today', '/walk', '/walk/' + encodeURIComponent('~天平路'), `/card/${record}`, '/new', '/sync', '/me']
    for (const lang of ['zh', 'en']) {
      await page.evaluate(() => { location.hash = '/me' })
      await page.locator(`button[lang=${lang === 'zh' ? 'zh-CN' : 'en'}]`).click()
      for (const size of ['standard', 'larger']) {
        await page.evaluate(() => { location.hash = '/me' })
        await page.locator(`[data-size-choice=${size}]`).click()
        for (const place of places) {
          await page.evaluate((to) => { location.hash = to }, place)
          await page.waitForFunction(() => document.querySelector('main h1'), undefined, { timeout: 10_000 }).catch(() => { throw new Error(`${lang} ${size} ${place} does not show itself`) })
          const name = `${lang} ${size} ${place}`
          found.push(...(await browser.axe(name)))
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
          if (wide > 0) found.push(`${name}: ${wide} px too wide`)
        }
        await page.evaluate((to) => { location.hash = `/card/${to}` }, record)
        await page.locator('[data-field=sign_name]').click()
        found.push(...(await browser.axe(`${lang} ${size} sheet`)))
        await page.keyboard.press('Escape')
      }
    }
    assert.deepEqual(found, [])
    await browser.close()
  })

  test('shows its screens', { skip: !SHOTS && 'only for `make web-screens`' }, async () => {
    mkdirSync(SHOTS, { recursive: true })
    const browser = await Browser.open(profile())
    const { page } = browser
    await browser.go(office.proxy.url)
    const shot = (name) => page.screenshot({ path: `${SHOTS}/${name}.png` })
    await shot('start-zh')
    await browser.enrol(office.proxy.url, await office.code('wangmin'))
    await road(browser, '天平路')
    const [, , record] = await records(browser)
    await page.locator('li.door').nth(1).getByRole('button').click()
    await shown(browser, '已保存在手机')
    await change(browser, record, 'sign_name', '新换的招牌')
    const places = { today: '/today', walk: '/walk', road: '/walk/' + encodeURIComponent('~天平路'), card: `/card/${record}`, sync: '/sync', me: '/me' }
    for (const [lang, size] of [['zh', 'standard'], ['en', 'standard'], ['zh', 'larger']]) {
      await page.evaluate(() => { location.hash = '/me' })
      await page.locator(`button[lang=${lang === 'zh' ? 'zh-CN' : 'en'}]`).click()
      await page.locator(`[data-size-choice=${size}]`).click()
      for (const [name, place] of Object.entries(places)) {
        await page.evaluate((to) => { location.hash = to }, place)
        await page.locator('main').waitFor()
        await page.waitForLoadState('networkidle')
        await shot(`${name}-${lang}${size === 'larger' ? '-large' : ''}`)
      }
    }
    await browser.close()
  })
})
