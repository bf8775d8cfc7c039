// The phone in a real browser against a real server: what a secretary does with it, and what happens to it meanwhile.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { Browser, closeAll, forget, newProfile, Office, until } from './harness.mjs'
import * as walk from './walk.mjs'
import { change, records, shown, tapSync, unsent } from './walk.mjs'

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
  await closeAll()
  await office?.stop()
  profiles.forEach(forget)
})

const road = (browser, name) => walk.road(browser, office.proxy.url, name)

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

  test('notes tags, a consent and the place of a shop, and withdraws the consent', async () => {
    const browser = await Browser.open(profile())
    const { page } = browser
    await browser.context.grantPermissions(['geolocation'])
    await browser.context.setGeolocation({ latitude: 31.21516, longitude: 121.458612, accuracy: 9 })
    await browser.enrol(office.proxy.url, await office.code('wangmin'))
    await road(browser, '康平路')
    const record = (await records(browser)).at(-1)
    await walk.place(browser, `/card/${record}`)
    await page.locator('[data-tags] + button').click()
    for (const tag of ['夜间营业', '写错的']) {
      await page.locator('dialog .input').fill(tag)
      await page.getByRole('button', { name: '添加', exact: true }).click()
      await page.locator('dialog li', { hasText: tag }).waitFor()
    }
    await page.locator('dialog li', { hasText: '写错的' }).getByRole('button').click()
    await page.locator('dialog li', { hasText: '写错的' }).waitFor({ state: 'detached' })
    await page.keyboard.press('Escape')
    await page.locator('[data-tags]', { hasText: '夜间营业' }).waitFor()
    // The place in words, taken at the door.
    await page.locator('[data-field=point]').click()
    await page.getByRole('button', { name: '记下现在的位置' }).click()
    await page.locator('[data-place]', { hasText: '很准（约 9 米）' }).waitFor()
    await page.getByRole('button', { name: '保存', exact: true }).click()
    await page.locator('[data-field=point]', { hasText: '很准' }).waitFor()
    // What is sensitive, with consent only.
    await page.locator('[data-consent]').first().click()
    const save = page.getByRole('button', { name: '登记同意', exact: true })
    assert.equal(await save.getAttribute('aria-disabled'), 'true')
    await page.locator('[name=agreed]').check()
    await page.locator('dialog .input').fill('中共党员')
    await save.click()
    await page.getByText('中共党员').first().waitFor()
    await tapSync(browser)
    await until('it arrived', async () => (await unsent(browser)) === 0)
    const card = (await office.cards()).find((one) => one.record === record)
    assert.deepEqual([card.tags, card.contacts.length], [['夜间营业'], 1])
    await walk.place(browser, `/card/${record}`)
    await page.locator('[data-consent]').first().click()
    await page.getByRole('button', { name: '撤回同意' }).click()
    await page.getByText('本人撤回同意').first().waitFor()
    // The office takes away what the consent was for, and says so with the next sync.
    await until('it is gone', async () => {
      await tapSync(browser)
      await walk.place(browser, `/card/${record}`)
      await page.getByText('本人撤回同意').first().waitFor()
      return (await page.getByText('中共党员').count()) === 0
    })
    await browser.close()
  })

  test('files a transfer with the member present, without a network: pending until the office rules, returned, mended, taken back', async () => {
    const browser = await Browser.open(profile())
    const { page } = browser
    await browser.enrol(office.proxy.url, await office.code('wangmin'))
    await browser.context.setOffline(true)
    await walk.place(browser, '/file')
    await page.getByText('市内系统转接').click()
    for (const [field, text] of [['member_alias', '康平3号 王'], ['member_name', '王小明'], ['origin_organisation', '杨浦区某支部'], ['phone', '13810000001'], ['target_branch', '康平支部']]) await page.locator(`[data-field=${field}] .input`).fill(text)
    await page.getByText('正式', { exact: true }).click()
    const submit = page.getByRole('button', { name: '提交给街道' })
    await submit.click()
    await page.getByText('没有登记党员本人同意').waitFor()
    assert.equal(await unsent(browser), 0)
    await page.locator('[name=agreed]').check()
    await submit.click()
    await page.getByText('等待街道裁定：提交').waitFor()
    assert.equal(await page.locator('[data-stands]').innerText(), '草稿', 'not submitted before the office ruled')
    const record = await page.evaluate(() => location.hash.split('/').at(-1))
    await browser.context.setOffline(false)
    await until('handed over', async () => (await unsent(browser)) === 0)
    await tapSync(browser)
    await walk.place(browser, `/transfer/${record}`)
    await page.locator('[data-stands]', { hasText: '已提交' }).waitFor()
    await page.locator('[data-field=member_name]', { hasText: '只在街道保存' }).waitFor()
    await page.getByText('期限').first().waitFor()
    assert.equal(await page.getByText('王小明').count(), 0)
    // The office returns it; it is mended, submitted again, and taken back.
    await office.officer(record, { type: 'return', reason_code: 'document_missing', note: '请补党费缴纳证明' })
    await tapSync(browser)
    await walk.place(browser, '/today')
    await page.getByRole('link', { name: '康平3号 王' }).click()
    await page.getByText('请补党费缴纳证明').waitFor()
    await page.locator('[data-field=phone]').click()
    await page.locator('dialog .input').fill('13910000002')
    await page.getByRole('button', { name: '保存', exact: true }).click()
    await page.locator('dialog').waitFor({ state: 'detached' })
    await page.getByRole('button', { name: '重新提交' }).click()
    await page.getByRole('button', { name: '撤回申请' }).click()
    await page.getByText('本人不转了').click()
    await page.locator('dialog').getByText('党员本人').click()
    await page.locator('dialog .input').fill('家里有事')
    await page.locator('dialog').getByRole('button', { name: '撤回申请' }).click()
    await page.locator('dialog').waitFor({ state: 'detached' })
    await tapSync(browser)
    await until('handed over', async () => (await unsent(browser)) === 0)
    await tapSync(browser)
    await walk.place(browser, `/transfer/${record}`)
    await page.locator('[data-stands]', { hasText: '撤回' }).waitFor()
    assert.deepEqual(browser.problems, [])
    await browser.close()
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
    const places = ['/today', '/walk', '/walk/' + encodeURIComponent('~天平路'), `/card/${record}`, '/new', '/transfers', '/file', '/sync', '/me']
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
        for (const [button, name] of [['[data-tags] + button', 'tags'], ['[data-consent]', 'consent'], ['[data-field=point]', 'place']]) {
          await page.locator(button).first().click()
          found.push(...(await browser.axe(`${lang} ${size} ${name}`)))
          await page.keyboard.press('Escape')
        }
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
    const places = { today: '/today', walk: '/walk', road: '/walk/' + encodeURIComponent('~天平路'), card: `/card/${record}`, transfers: '/transfers', file: '/file', sync: '/sync', me: '/me' }
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
