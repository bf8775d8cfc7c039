// What happens to a phone on the street, and that it says so plainly and loses nothing.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { Browser, closeAll, forget, newProfile, Office, STREET, until } from './harness.mjs'
import { change, openField, place, records, road, shown, tapSync, unsent } from './walk.mjs'

const DAY_MS = 86_400_000
let office
const profiles = []
const profile = () => { const folder = newProfile(); profiles.push(folder); return folder }
let people = 0
/** A secretary of grid A1 with a phone of their own, on a road with shops. */
async function walker() {
  const name = `walker${++people}`
  await office.user(name, `走访员${people}`)
  const browser = await Browser.open(profile())
  await browser.enrol(office.proxy.url, await office.code(name))
  await road(browser, office.proxy.url, '天平路')
  const doors = await records(browser)
  return { name, browser, page: browser.page, doors: doors.slice(people % 3 * 3) }
}
const card = async (record) => (await office.cards()).find((one) => one.record === record)
const heading = (browser, name) => browser.page.getByRole('heading', { name }).waitFor()

before(async () => {
  office = await Office.start()
  await office.roll(24)
}, { timeout: 180_000 })
after(async () => {
  await closeAll()
  await office?.stop()
  profiles.forEach(forget)
})

describe('a phone to which something happens', { timeout: 600_000 }, () => {
  test('full: what was typed is still saved, then nothing more is typed in vain, all of it arrives, and it goes on once there is room', async () => {
    const { browser, page, doors: [record] } = await walker()
    await browser.context.setOffline(true)
    const devtools = await browser.devtools()
    const quota = (quotaSize) => devtools.send('Storage.overrideQuotaForOrigin', { origin: office.proxy.url, quotaSize })
    const full = page.locator('[data-full]')
    const { usage } = await page.evaluate(() => navigator.storage.estimate())
    await quota(usage)
    let written = 0
    // Long notes, until the phone is full: each that was typed is saved.
    while (!(await full.isVisible())) {
      assert.ok(written < 60, 'the phone never gets full')
      await place(browser, `/card/${record}`)
      await page.locator('[data-note] button').click()
      await page.locator('dialog .input').fill(`${++written} ` + '长'.repeat(1_900))
      await page.getByRole('button', { name: '保存', exact: true }).click()
      await page.locator('dialog').waitFor({ state: 'detached' })
    }
    assert.equal(await unsent(browser), written)
    await page.locator('[data-field=sign_name]').click()
    await shown(browser, '存储空间不足')
    assert.equal(await page.locator('dialog').count(), 0)
    await page.getByRole('button', { name: '无变化', exact: true }).click()
    await shown(browser, '存储空间不足')
    assert.equal(await unsent(browser), written)
    await browser.context.setOffline(false)
    await until('what was written is handed over', async () => (await unsent(browser)) === 0)
    assert.match((await card(record)).note, new RegExp(`^${written} 长`))
    await quota(undefined)
    await full.locator('button').click()
    await full.waitFor({ state: 'detached' })
    await change(browser, record, 'sign_name', '又有空间了')
    await browser.close()
  })

  test('its data deleted by the browser while it runs: says so, never claims to have saved, and hands over what it still can', async () => {
    const { browser, page, doors: [record, another] } = await walker()
    await browser.context.setOffline(true)
    await change(browser, record, 'sign_name', '删除之前写的')
    const devtools = await browser.devtools()
    await devtools.send('Storage.clearDataForOrigin', { origin: office.proxy.url, storageTypes: 'file_systems,indexeddb,cache_storage' })
    await openField(browser, another, 'sign_name')
    await page.locator('dialog .input').fill('删除之后写的')
    await page.getByRole('button', { name: '保存', exact: true }).click()
    await heading(browser, '浏览器删掉了这台手机上的数据')
    // The open file still holds both: with a network they are handed over.
    await browser.context.setOffline(false)
    await page.getByText('没有未上传的修改').waitFor()
    assert.equal((await card(record)).sign_name, '删除之前写的')
    assert.equal((await card(another)).sign_name, '删除之后写的')
    await page.getByRole('button', { name: '重新打开' }).click()
    await page.getByText('当时所有修改都已到街道').waitFor()
    await browser.close()
  })

  test('a clock a day ahead or behind: confirms the office’s day, and says how wrong it is', async () => {
    const { browser, page, doors } = await walker()
    for (const [at, days, words] of [[0, 1, '比街道快'], [1, -1, '比街道慢']]) {
      await browser.clock(days * DAY_MS)
      // The phone learns how wrong it is by a synchronisation.
      await tapSync(browser)
      await place(browser, `/card/${doors[at]}`)
      await page.getByRole('button', { name: '无变化', exact: true }).click()
      await shown(browser, '已保存在手机')
      assert.match(await tapSync(browser), /已到街道/)
      assert.equal((await card(doors[at])).last_confirmed_on, new Date(Date.now() + 8 * 3_600_000).toISOString().slice(0, 10))
      await place(browser, '/today')
      await page.locator('[data-clock]', { hasText: words }).waitFor()
    }
    await browser.close()
  })

  test('away for longer than its lease: locks, and opens again with everything unsent', async () => {
    const { browser, page, doors: [record] } = await walker()
    await browser.context.setOffline(true)
    await change(browser, record, 'sign_name', '离开之前写的')
    await browser.clock(8 * DAY_MS)
    await place(browser, `/card/${record}`)
    await page.locator('[data-field=sign_name]').click()
    await heading(browser, '请联网一次')
    await page.getByText('未上传 1').waitFor()
    assert.equal(await page.getByText('离开之前写的').count(), 0)
    await browser.context.setOffline(false)
    await page.locator('nav.tabs').waitFor()
    await until('the edit arrived', async () => (await unsent(browser)) === 0)
    assert.equal((await card(record)).sign_name, '离开之前写的')
    await browser.close()
  })

  test('a new version with edits unsent: waits while something is typed, then takes over, and everything is there and arrives', async () => {
    const { browser, page, doors: [record] } = await walker()
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null)
    await browser.context.setOffline(true)
    await change(browser, record, 'sign_name', '旧版本里写的')
    // The new program, at the same address.
    const ended = new Promise((then) => office.process.once('exit', then))
    office.process.kill('SIGTERM')
    await ended
    await office.serve()
    office.proxy.release = '2'
    try {
      await openField(browser, record, 'legal_name')
      await page.locator('dialog .input').fill('正在写')
      office.proxy.mode = '502'
      await browser.context.setOffline(false)
      await page.evaluate(async () => { await (await navigator.serviceWorker.ready).update() })
      await page.waitForFunction(async () => Boolean((await navigator.serviceWorker.ready).waiting))
      assert.equal(await page.locator('dialog .input').inputValue(), '正在写')
      await page.keyboard.press('Escape')
      await place(browser, '/me')
      await page.getByRole('button', { name: '现在更新' }).click()
      await page.waitForFunction(() => document.querySelector('meta[name=release]')?.content === '2' && window.__lianka?.phase() === 'open')
      assert.equal(await unsent(browser), 1)
      office.proxy.mode = 'pass'
      await tapSync(browser)
      await until('the edit arrived', async () => (await unsent(browser)) === 0)
      assert.equal((await card(record)).sign_name, '旧版本里写的')
    } finally {
      Object.assign(office.proxy, { release: undefined, mode: 'pass' })
    }
    await browser.close()
  })

  test('an input method in the middle of a word: nothing is saved before the word is there', async () => {
    const { browser, page, doors: [record] } = await walker()
    await openField(browser, record, 'sign_name')
    await page.locator('dialog .input').fill('')
    const devtools = await browser.devtools()
    await devtools.send('Input.imeSetComposition', { text: "bao'zi", selectionStart: 6, selectionEnd: 6 })
    // Enter that an input method takes for itself.
    await page.keyboard.press('Enter')
    assert.equal(await page.locator('dialog').count(), 1)
    assert.equal(await unsent(browser), 0)
    await devtools.send('Input.insertText', { text: '包子' })
    await page.keyboard.press('Enter')
    await page.locator('dialog').waitFor({ state: 'detached' })
    await page.locator('[data-field=sign_name]', { hasText: '包子' }).waitFor()
    assert.equal(await page.getByText("bao'zi").count(), 0)
    await browser.close()
  })

  test('a value that arrives while one types is shown before it is replaced', async () => {
    const { browser, page, doors: [record] } = await walker()
    await openField(browser, record, 'sign_name')
    await page.locator('dialog .input').fill('我写的')
    await office.call('POST', `/v1/streets/${STREET}/records/${record}/edits`, { set: { sign_name: '街道写的' } })
    await browser.context.setOffline(true)
    await browser.context.setOffline(false)
    await page.locator('dialog', { hasText: '街道写的' }).waitFor()
    const save = page.getByRole('button', { name: '保存', exact: true })
    await save.click()
    await page.locator('dialog .notice.bad', { hasText: '刚刚有人改过' }).waitFor()
    assert.equal(await unsent(browser), 0)
    assert.equal(await page.locator('dialog .input').inputValue(), '我写的')
    await save.click()
    await page.locator('dialog').waitFor({ state: 'detached' })
    await page.locator('[data-field=sign_name]', { hasText: '我写的' }).waitFor()
    await browser.close()
  })

  test('a card erased while it is open: it goes from the screen and from the phone, and what was typed with it', async () => {
    const { browser, page, doors: [record] } = await walker()
    await openField(browser, record, 'sign_name')
    await page.locator('dialog .input').fill('正在写的')
    await office.call('POST', `/v1/streets/${STREET}/records/${record}/erase`, { reason: 'entered_by_mistake' })
    // What brings the news by itself: being online again.
    await browser.context.setOffline(true)
    await browser.context.setOffline(false)
    await page.getByText('手机上没有这张卡了').waitFor()
    assert.equal(await page.locator('dialog').count(), 0)
    await road(browser, office.proxy.url, '天平路')
    assert.ok(!(await records(browser)).includes(record))
    await browser.close()
  })

  test('its grid given to somebody else: what is unsent waits for a reviewer, and both decisions come back', async () => {
    const { name, browser, page, doors: [record, another] } = await walker()
    await browser.context.setOffline(true)
    await change(browser, record, 'sign_name', '会被接受的')
    await change(browser, another, 'sign_name', '会被退回的')
    await office.call('PUT', `/v1/streets/${STREET}/assignments/${name}`, { grids: [] })
    await browser.context.setOffline(false)
    const said = await tapSync(browser)
    assert.match(said, /2 条等街道审核/)
    await place(browser, '/today')
    const held = page.locator('[data-held] li')
    await held.first().waitFor()
    assert.equal(await held.count(), 2)
    await page.getByText('会被退回的').waitFor()
    for (const one of await office.held()) {
      const accepts = one.record === record
      await office.call('POST', `/v1/streets/${STREET}/held/${one.held}/${accepts ? 'accept' : 'refuse'}`, accepts ? {} : { reason: '店主说没有改名' })
    }
    await tapSync(browser)
    await place(browser, '/today')
    await page.getByText('您待审核的修改已被接受').waitFor()
    await page.getByText('您待审核的修改已被退回').waitFor()
    await page.getByText('店主说没有改名').first().waitFor()
    assert.equal(await held.count(), 0)
    await place(browser, '/walk')
    await page.getByText('如果不对，请问街道管理员').waitFor()
    assert.equal((await card(record)).sign_name, '会被接受的')
    await browser.close()
  })

  test('dying: exports what is unsent under a passphrase, and another phone of the same person takes it in and sends it', async () => {
    const { name, browser, page, doors: [record] } = await walker()
    const other = await walker()
    await browser.context.setOffline(true)
    await change(browser, record, 'sign_name', '快没电时写的')
    await place(browser, '/me')
    await page.getByRole('button', { name: '导出未上传的修改' }).click()
    for (const at of [0, 1]) await page.locator('dialog .input').nth(at).fill('天平路上的梧桐树')
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('dialog form button').click()])
    const file = await download.path()
    assert.doesNotMatch(readFileSync(file, 'utf8'), /快没电|sign_name|walker/)
    const takeIn = async (phone, passphrase) => {
      await place(phone, '/me')
      await phone.page.getByRole('button', { name: '取入另一台手机的修改' }).click()
      await phone.page.locator('dialog input[type=file]').setInputFiles(file)
      await phone.page.locator('dialog input[type=password]').fill(passphrase)
      await phone.page.locator('dialog form button').click()
    }
    await takeIn(other.browser, '天平路上的梧桐树')
    await other.page.locator('dialog .notice.bad', { hasText: '另一位用户' }).waitFor()
    await other.browser.close()
    const second = await Browser.open(profile())
    await second.enrol(office.proxy.url, await office.code(name))
    await takeIn(second, '别的口令别的口令')
    await second.page.locator('dialog .notice.bad', { hasText: '口令不对' }).waitFor()
    await second.page.locator('dialog input[type=password]').fill('天平路上的梧桐树')
    await second.page.locator('dialog form button').click()
    await second.page.locator('dialog').waitFor({ state: 'detached' })
    await until('it arrived', async () => (await card(record)).sign_name === '快没电时写的')
    // Its downloads go with it.
    await browser.close()
    await second.close()
  })

  test('practice: an invented street in plain colours, of which nothing is sent and nothing stays', async () => {
    const { browser, page, doors: [record] } = await walker()
    await browser.context.setOffline(true)
    await change(browser, record, 'sign_name', '真的修改')
    await browser.context.setOffline(false)
    await until('sent', async () => (await unsent(browser)) === 0)
    await place(browser, '/me')
    const asked = []
    page.on('request', (request) => { if (request.url().includes('/v1/')) asked.push(request.url()) })
    await page.getByRole('button', { name: '开始练习' }).click()
    await page.locator('[data-practice]').waitFor()
    await road(browser, office.proxy.url, '练习一路')
    assert.ok(!(await records(browser)).includes(record))
    await page.locator('li.door').first().getByRole('button', { name: /无变化/ }).click()
    await page.locator('li.door').first().locator('.done').waitFor()
    await place(browser, '/sync')
    await page.locator('[data-sync]').click()
    await shown(browser, '练习的内容不会上传')
    assert.deepEqual(asked, [])
    // A reload keeps what was practised; ending it does not.
    await browser.go(office.proxy.url, '#/me')
    assert.equal(await unsent(browser), 1)
    await page.getByRole('button', { name: '结束练习' }).click()
    await page.locator('[data-practice]').waitFor({ state: 'detached' })
    await browser.idle()
    assert.equal(await unsent(browser), 0)
    await place(browser, `/card/${record}`)
    await page.locator('[data-field=sign_name]', { hasText: '真的修改' }).waitFor()
    await browser.close()
  })

  test('wiped: hands over first, keeps nothing, says so, and can begin anew', async () => {
    const { name, browser, page, doors: [record] } = await walker()
    await browser.context.setOffline(true)
    await change(browser, record, 'sign_name', '停用之前写的')
    const device = await office.device(name)
    await office.call('DELETE', `/v1/devices/${device.device_id}?wipe=true`)
    await browser.context.setOffline(false)
    await heading(browser, '街道已停用这台手机')
    assert.equal(await page.getByText('停用之前写的').count(), 0)
    await until('the office holds the edit', async () => (await office.held()).some((one) => one.record === record && one.username === name))
    await until('the office knows', async () => (await office.device(name)).wiped_reported_at)
    const left = await page.evaluate(async () => {
      let text = ''
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('lianka-phone')
      for await (const [, inner] of folder.entries()) if (inner.kind === 'directory') for await (const [, file] of inner.entries()) text += await (await file.getFile()).text()
      return text
    })
    for (const word of ['停用之前写的', '王记包子铺', '天平路']) assert.ok(!left.includes(word), word)
    await page.getByRole('button', { name: '重新注册这台手机' }).click()
    await heading(browser, '注册这台手机')
    await browser.enrol(office.proxy.url, await office.code(name))
    await browser.close()
  })
})
