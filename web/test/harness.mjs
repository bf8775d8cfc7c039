// An office of its own for a test: a real server on a private Postgres, a desk over HTTP, a proxy that can fail, and a browser with a profile.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import axe from 'axe-core'
import { chromium } from 'playwright-core'

export const STREET = '310104003'
const root = new URL('../../', import.meta.url).pathname
const profile = process.env.LIANKA_PROFILE ?? 'release'

/** Waits for what happens, and says what did not. */
export async function until(what, happens, ms = 30_000) {
  const end = Date.now() + ms
  for (;;) {
    const found = await happens()
    if (found) return found
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`)
    await pause(50)
  }
}

export class Office {
  static async start() {
    const office = new Office()
    office.folder = mkdtempSync(join(tmpdir(), 'lianka-web-'))
    await office.serve()
    const password = 'a long password for tests'
    execFileSync(office.program, ['admin', 'create', '--username', 'admin', '--data-dir', join(office.folder, 'data')], { input: `${password}\n`, stdio: ['pipe', 'ignore', 'pipe'] })
    office.token = (await office.call('POST', '/v1/sessions', { username: 'admin', password, name: 'desk' })).access_token
    await office.call('POST', '/v1/streets', { street: STREET, name: '天平路街道', district: '徐汇区' })
    await office.call('POST', `/v1/streets/${STREET}/grids`, { grid: 'A1', name: '康平一网格', area: '康平' })
    await office.call('POST', `/v1/streets/${STREET}/roads`, { roads: ['天平路', '康平路'] })
    office.proxy = await Proxy.start(office.address)
    return office
  }
  get program() { return join(root, 'target', profile, 'lianka') }
  async serve() {
    const file = join(this.folder, 'address')
    rmSync(file, { force: true })
    const listen = this.address ?? '127.0.0.1:0'
    this.process = spawn(this.program, ['serve', '--listen', listen, '--ops-listen', '127.0.0.1:0', '--address-file', file, '--data-dir', join(this.folder, 'data')], { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    this.process.stderr.on('data', (bytes) => { said = (said + bytes).slice(-4000) })
    await until('the server answers', () => {
      if (this.process.exitCode !== null) throw new Error(`the server ended: ${said}`)
      return existsSync(file) && readFileSync(file, 'utf8').includes('\n')
    }, 120_000)
    this.address = readFileSync(file, 'utf8').split('\n')[0]
  }
  async call(method, path, body, token = this.token) {
    const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) }
    const answer = await fetch(`http://${this.address}${path}`, { method, headers, body: body && JSON.stringify(body) })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return text ? JSON.parse(text) : null
  }
  async user(username, name) {
    await this.call('POST', '/v1/users', { username, display_name: name, role: 'secretary', street: STREET })
    await this.call('PUT', `/v1/streets/${STREET}/assignments/${username}`, { grids: ['A1'] })
  }
  async code(username) { return (await this.call('POST', '/v1/enrolments', { username })).code }
  /** Imports a roll of invented shops. */
  async roll(count) {
    const lines = ['店招,业态,地址,联系人,联系电话,状态']
    for (let at = 1; at <= count; at++) {
      const road = at % 3 ? '天平路' : '康平路'
      lines.push(`${NAMES[at % NAMES.length]}${at > NAMES.length ? at : ''},${KINDS[at % KINDS.length]},${road}${at}号,${PEOPLE[at % PEOPLE.length]},138${String(10000000 + at * 7919)},营业`)
    }
    const answer = await fetch(`http://${this.address}/v1/streets/${STREET}/imports?dry_run=false&grid=A1`, { method: 'POST', headers: { authorization: `Bearer ${this.token}`, 'content-type': 'text/csv' }, body: lines.join('\n') })
    if (!answer.ok) throw new Error(`import: ${answer.status} ${await answer.text()}`)
    return answer.json()
  }
  /** An officer's step on a transfer. */
  async officer(record, step) {
    if (!this.officers) {
      const password = 'another long password for tests'
      await this.call('POST', '/v1/users', { username: 'officer', display_name: '经办人', role: 'officer', street: STREET, password })
      this.officers = (await this.call('POST', '/v1/sessions', { username: 'officer', password, name: 'desk' })).access_token
    }
    const shown = await this.call('GET', `/v1/streets/${STREET}/transfers/${record}`, undefined, this.officers)
    return this.call('POST', `/v1/streets/${STREET}/transfers/${record}/events`, { seen: shown.seen, ...step }, this.officers)
  }
  /** What the office holds of a phone's changes, for a reviewer. */
  async held() { return (await this.call('GET', `/v1/streets/${STREET}/held?status=held&page_size=100`)).items }
  async device(username) { return (await this.call('GET', '/v1/devices?page_size=200')).items.filter((device) => device.username === username).at(-1) }
  async cards() {
    const all = []
    for (let page = 1; ; page++) {
      const { items, total } = await this.call('GET', `/v1/streets/${STREET}/cards?page=${page}&page_size=200`)
      all.push(...items)
      if (all.length >= total || !items.length) return all
    }
  }
  async stop() {
    await this.proxy?.stop()
    const ended = new Promise((then) => this.process.once('exit', then))
    this.process.kill('SIGTERM')
    await ended
    rmSync(this.folder, { recursive: true, force: true })
  }
}
const NAMES = ['王记包子铺', '老李修车', '天平药房', '小周理发', '康平书店', '晨光文具', '阿姨水果', '永兴五金', '慢慢咖啡', '吕家面馆']
const KINDS = ['餐饮', '维修', '医药', '美发', '零售']
const PEOPLE = ['王小明', '李阿姨', '周师傅', '许娜', '方圆']

// While one works on the page: it comes from a folder, and not from the program, which takes minutes to build.
const FROM_FOLDER = process.env.LIANKA_WEB_FOLDER
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', wasm: 'application/wasm', svg: 'image/svg+xml', webmanifest: 'application/manifest+json' }
function fromFolder(request) {
  const name = new URL(request.url, 'http://page').pathname.slice('/app/'.length) || 'index.html'
  const path = join(FROM_FOLDER, name)
  if (!existsSync(path)) return { status: 404, headers: {}, bytes: Buffer.alloc(0) }
  return { status: 200, headers: { 'content-type': TYPES[name.split('.').pop()] ?? 'application/octet-stream', 'cache-control': 'no-cache' }, bytes: readFileSync(path) }
}
async function passedOn(request, address) {
  const answer = await fetch(`http://${address}${request.url}`, { headers: { 'accept-encoding': 'identity' } })
  const headers = Object.fromEntries([...answer.headers].filter(([name]) => !['content-length', 'connection', 'transfer-encoding'].includes(name)))
  return { status: answer.status, headers, bytes: Buffer.from(await answer.arrayBuffer()) }
}

/** Between browser and server: passes on, hangs, refuses, or cuts an answer in its middle. Only what syncs fails; the shell always comes. */
export class Proxy {
  static async start(address) {
    const proxy = new Proxy()
    proxy.mode = 'pass'
    proxy.hanging = new Set()
    const [host, port] = address.split(':')
    proxy.server = http.createServer((request, response) => {
      if (proxy.release && request.url.startsWith('/app/')) { void proxy.newer(request, response, address); return }
      if (FROM_FOLDER && request.url.startsWith('/app/')) { const { status, headers, bytes } = fromFolder(request); response.writeHead(status, headers).end(bytes); return }
      const fails = request.url.startsWith('/v1/') ? proxy.mode : 'pass'
      if (fails === 'hang') { proxy.hanging.add(response); request.resume(); return }
      if (fails === '502') { request.resume(); response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad Gateway</h1>'); return }
      const onward = http.request({ host, port, method: request.method, path: request.url, headers: { ...request.headers, host: address } }, (answer) => {
        response.writeHead(answer.statusCode, answer.headers)
        if (fails !== 'cut') { answer.pipe(response); return }
        answer.once('data', (bytes) => { response.write(bytes.subarray(0, Math.max(1, bytes.length >> 1))); setImmediate(() => response.destroy()) })
      })
      onward.on('error', () => response.destroy())
      request.pipe(onward)
    })
    await new Promise((then) => proxy.server.listen(0, '127.0.0.1', then))
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`
    return proxy
  }
  /** The shell as another release would serve it: another version of its service worker, and a page that says which it is. */
  async newer(request, response, address) {
    const { status, headers, bytes } = FROM_FOLDER ? fromFolder(request) : await passedOn(request, address)
    const text = request.url === '/app/sw.js' ? bytes.toString().replace("const VERSION = '", `$&${this.release}-`)
      : /^\/app\/(\?|$)/.test(request.url) ? bytes.toString().replace('<head>', `<head><meta name="release" content="${this.release}">`)
        : bytes
    response.writeHead(status, headers).end(text)
  }
  async stop() {
    for (const response of this.hanging) response.destroy()
    this.server.closeAllConnections()
    await new Promise((then) => this.server.close(then))
  }
}

function chromiumPath() {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']) {
    try { return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim() } catch { /* The next one. */ }
  }
  throw new Error('no Chromium on PATH: apt-get install chromium')
}

/** A browser with a profile that outlives it. */
const opened = new Set()
/** What a failed test left open would keep the run from ending. */
export const closeAll = () => Promise.all([...opened].map((browser) => browser.close().catch(() => undefined)))
export class Browser {
  static async open(folder, { width = 390, height = 844 } = {}) {
    const browser = new Browser()
    browser.folder = folder
    browser.context = await chromium.launchPersistentContext(folder, {
      executablePath: chromiumPath(), headless: true, viewport: { width, height }, locale: 'zh-CN', timezoneId: 'Asia/Shanghai', hasTouch: true, reducedMotion: 'reduce', deviceScaleFactor: 2,
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    })
    browser.page = browser.context.pages()[0] ?? (await browser.context.newPage())
    browser.watch(browser.page)
    opened.add(browser)
    return browser
  }
  problems = []
  watch(page) {
    page.on('pageerror', (error) => this.problems.push(String(error)))
    page.on('console', (message) => { if (/Content Security Policy|Refused to/.test(message.text())) this.problems.push(message.text()) })
  }
  async go(url, hash = '') {
    await this.page.goto(`${url}/app/${hash}`)
    await this.page.waitForFunction(() => ['open', 'elsewhere', 'broken', 'unfit'].includes(window.__lianka?.phase()))
  }
  /** How far the phone's clock is ahead, for the core's worker and for the page. Lasts until the page is loaded again. */
  async clock(ahead_ms) {
    const set = (ms) => { const real = globalThis.__clock ??= Date.now.bind(Date); Date.now = () => real() + ms }
    for (const one of [this.page, ...this.page.workers()]) await one.evaluate(set, ahead_ms)
  }
  async devtools() { return this.context.newCDPSession(this.page) }
  idle() { return this.page.waitForFunction(() => window.__lianka?.idle(), undefined, { timeout: 60_000 }) }
  async enrol(url, code) {
    await this.go(url, `#enrol=${code}`)
    await this.page.getByRole('button', { name: '注册', exact: true }).click()
    await this.page.locator('nav.tabs').waitFor({ timeout: 60_000 })
    await this.idle()
  }
  /** The processes of this profile, ended as a flat battery would end them. */
  async kill() {
    const gone = new Promise((then) => this.context.once('close', then))
    const pids = execFileSync('pgrep', ['-f', `user-data-dir=${this.folder}`], { encoding: 'utf8' }).trim().split('\n').map(Number)
    for (const pid of pids) { try { process.kill(pid, 'SIGKILL') } catch { /* Gone with its parent. */ } }
    await gone
    for (const name of ['SingletonLock', 'SingletonCookie', 'SingletonSocket']) rmSync(join(this.folder, name), { force: true })
  }
  close() { opened.delete(this); return this.context.close() }
  async axe(where) {
    await this.page.evaluate(`${axe.source}; undefined`)
    const { violations } = await this.page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }))
    return violations.map((violation) => `${where}: ${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 160)).join(' | ')}`)
  }
}
export const newProfile = () => mkdtempSync(join(tmpdir(), 'lianka-profile-'))
// A browser's last processes may still be writing.
export const forget = (folder) => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
