// The worker: holds the phone (the core as wasm, SQLite on the origin's private file system), and carries its requests with fetch.
// Decides nothing of its own but who holds the phone: one page at a time, by a Web Lock.

import init, { Phone } from '@core'
import type { Answer, Asked, Failure, Order, Report, Step, Told } from './types'

let folder = 'lianka-phone'
/** A store of its own, that is never linked with anything. */
const PRACTICE = 'lianka-practice'
const LOCK = 'lianka-phone'
/** What is set aside for edits on a full phone. */
const RESERVE = 'lianka-reserve'
const RESERVE_BYTES = 1_048_576
/** Silence after which a connection counts as broken. */
const SILENCE_MS = 15_000
/** How long a page that ended may take to let go of its files. */
const LETTING_GO_MS = 4_000
/** Requests shorter than this are sent as they are. */
const PACK_BYTES_MIN = 1_024

let phone: Phone | null = null
let release: (() => void) | null = null
let synchronising: Promise<Report> | null = null
const pages = new BroadcastChannel('lianka-phone')

class Failed extends Error {
  constructor(readonly failure: Failure) { super(failure.code) }
}
const failed = (code: string, message = ''): Failed => new Failed({ code, message, key: null })
const pause = (ms: number) => new Promise((then) => setTimeout(then, ms))
const tell = (told: Told) => postMessage(told)

function read<T>(text: string): T {
  const told = JSON.parse(text) as { ok: T } | { failed: Failure }
  if ('failed' in told) throw new Failed(told.failed)
  return told.ok
}
function held(): Phone {
  if (!phone) throw failed('cut')
  return phone
}

/** Takes the lock of the phone; `wait`: asks whoever has it to let go, and takes it from a page that does not answer. */
async function lock(wait: boolean): Promise<boolean> {
  if (!wait) return take({ ifAvailable: true })
  pages.postMessage('let-go')
  const given = new AbortController()
  const timer = setTimeout(() => given.abort(), LETTING_GO_MS)
  try {
    return await take({ signal: given.signal })
  } catch {
    return take({ steal: true })
  } finally {
    clearTimeout(timer)
  }
}
function take(options: LockOptions): Promise<boolean> {
  return new Promise((then, not) => {
    navigator.locks
      .request(LOCK, options, (got) => {
        then(got !== null)
        return got === null ? undefined : new Promise<void>((done) => { release = done })
      })
      .catch(not)
  })
}
function letGo(): void {
  if (phone) { phone.close(); phone.free(); phone = null }
  release?.()
  release = null
}
pages.onmessage = async ({ data }) => {
  if (data !== 'let-go' || !release) return
  await synchronising?.catch(() => undefined)
  letGo()
  tell({ told: 'taken' })
}

async function open(lang: string, wait: boolean, practice: boolean): Promise<void> {
  if (practice) folder = PRACTICE
  if (!(await lock(wait))) throw failed('elsewhere')
  try {
    await init()
    const until = Date.now() + LETTING_GO_MS
    for (;;) {
      try {
        phone = await Phone.open(folder)
        break
      } catch (error) {
        // A worker that ended a moment ago holds its files a little longer.
        const told = typeof error === 'string' ? (JSON.parse(error) as { failed: Failure }).failed : failed('store', String(error)).failure
        if (told.code !== 'busy' || Date.now() > until) throw new Failed(told)
        await pause(100)
      }
    }
    phone.speak(lang)
    if (practice) read(phone.practise())
  } catch (error) {
    letGo()
    throw error
  }
}

/** fetch that gives up after silence, and while it reads. */
async function post(path: string, headers: Record<string, string>, body: BodyInit, each: (response: Response) => Promise<void>): Promise<void> {
  const silent = new AbortController()
  let timer = setTimeout(() => silent.abort(), SILENCE_MS)
  const heard = () => { clearTimeout(timer); timer = setTimeout(() => silent.abort(), SILENCE_MS) }
  listening = heard
  try {
    await each(await fetch(path, { method: 'POST', headers, body, signal: silent.signal, credentials: 'omit', cache: 'no-store' }))
  } finally {
    clearTimeout(timer)
  }
}
let listening: () => void = () => undefined

async function packed(bytes: Uint8Array<ArrayBuffer>, headers: Record<string, string>): Promise<Uint8Array<ArrayBuffer>> {
  if (bytes.length < PACK_BYTES_MIN || typeof CompressionStream === 'undefined') return bytes
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'))
  headers['content-encoding'] = 'gzip'
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

async function enrol(code: string, name: string, lang: string): Promise<void> {
  const call = read<{ path: string; body: string }>(held().enrolment(code, name))
  let text = ''
  let refused: Failed | null = null
  try {
    await post(call.path, { 'content-type': 'application/json', 'accept-language': lang }, call.body, async (response) => {
      text = await response.text()
      if (!response.ok) refused = problem(response.status, text)
    })
  } catch (error) {
    throw failed('network', String(error))
  }
  if (refused) throw refused
  read(held().enrolled(text, location.origin))
}
function problem(status: number, text: string): Failed {
  try {
    const told = JSON.parse(text) as { code?: string; title?: string; detail?: string }
    if (told.code) return failed(told.code, [told.title, told.detail].filter(Boolean).join(' '))
  } catch { /* Something between here and the server answered. */ }
  return failed(status >= 500 ? 'http_status' : 'refused', String(status))
}

/** A browser whose user clears its data takes the folder away under an open file, and says nothing: what is written then is written nowhere. */
async function there(): Promise<void> {
  try {
    await (await navigator.storage.getDirectory()).getDirectoryHandle(folder)
  } catch {
    throw failed('vanished')
  }
}
/** Whether there is room for edits: a file stands for it, which an edit that finds the phone full is given. Browsers do not say how full they are. */
async function room(): Promise<boolean> {
  const file = await (await navigator.storage.getDirectory()).getFileHandle(RESERVE, { create: true })
  if ((await file.getFile()).size >= RESERVE_BYTES) return true
  const access = await file.createSyncAccessHandle()
  const piece = new Uint8Array(RESERVE_BYTES / 16)
  crypto.getRandomValues(piece.subarray(0, 65_536))
  try {
    for (let at = 0; at < RESERVE_BYTES; at += piece.length) access.write(piece, { at })
    access.flush()
    return access.getSize() >= RESERVE_BYTES
  } catch {
    access.truncate(0)
    return false
  } finally {
    access.close()
  }
}
/** Does it once more with what was set aside, where the phone is full. */
async function withReserve<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Failed) || error.failure.code !== 'full') throw error
    const file = await (await navigator.storage.getDirectory()).getFileHandle(RESERVE, { create: true })
    const access = await file.createSyncAccessHandle()
    access.truncate(0)
    access.close()
    tell({ told: 'full' })
    return work()
  }
}
async function save(question: string): Promise<unknown> {
  const saved = await withReserve(() => read(held().ask(question)))
  await there()
  return saved
}

// A file of unsent edits: AES-256-GCM under a key by Argon2id, as client/src/rescue_file.rs reads it.
const FORMAT = 'lianka-unsent/1'
const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const unhex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16))
const text = (words: string) => new TextEncoder().encode(words)
async function fileKey(passphrase: string, salt: Uint8Array, use: 'encrypt' | 'decrypt'): Promise<CryptoKey> {
  const bytes = held().file_key(passphrase, salt)
  if (!bytes) throw failed('passphrase_short')
  return crypto.subtle.importKey('raw', new Uint8Array(bytes), 'AES-GCM', false, [use])
}
async function exported(passphrase: string): Promise<string> {
  const unsent = read(held().ask('{"ask":"unsent"}'))
  const salt = crypto.getRandomValues(new Uint8Array(16))
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const key = await fileKey(passphrase, salt, 'encrypt')
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: text(FORMAT) }, key, text(JSON.stringify(unsent)))
  return JSON.stringify({ format: FORMAT, salt: hex(salt), nonce: hex(iv), sealed: hex(new Uint8Array(sealed)) })
}
async function takeIn(file: string, passphrase: string): Promise<unknown> {
  let parts: { format?: string; salt: string; nonce: string; sealed: string }
  try { parts = JSON.parse(file) as typeof parts } catch { throw failed('not_a_rescue_file') }
  if (parts.format !== FORMAT) throw failed('not_a_rescue_file')
  const key = await fileKey(passphrase, unhex(parts.salt), 'decrypt')
  let opened: ArrayBuffer
  try {
    opened = await crypto.subtle.decrypt({ name: 'AES-GCM', iv: unhex(parts.nonce), additionalData: text(FORMAT) }, key, unhex(parts.sealed))
  } catch { throw failed('passphrase_wrong') }
  return save(`{"ask":"take_in","unsent":${new TextDecoder().decode(opened)}}`)
}

async function synchronise(lang: string, wiped: boolean): Promise<Report> {
  let step = read<Step>(held().synchronise(wiped))
  let sent = 0
  for (;;) {
    switch (step.step) {
      case 'send': sent += step.changes; step = await send(step, lang, sent); break
      case 'read': step = read<Step>(held().over()); break
      case 'wait':
        tell({ told: 'waiting', failures: step.failures })
        await pause(step.ms)
        step = read<Step>(held().go_on())
        break
      case 'done': return step.report
      case 'failed': throw new Failed(step.failure)
    }
  }
}

async function send(call: Extract<Step, { step: 'send' }>, lang: string, sent: number): Promise<Step> {
  const headers: Record<string, string> = { 'content-type': call.media_type, 'accept-language': lang }
  if (call.items) headers.accept = call.media_type
  if (call.token) headers.authorization = `Bearer ${call.token}`
  const body = await packed(new Uint8Array(held().body()), headers)
  let next: Step | null = null
  try {
    await post(call.path, headers, body, async (response) => {
      if (!response.ok) {
        const refusal = new Uint8Array(await response.arrayBuffer())
        next = read<Step>(held().refused(response.status, response.statusText || String(response.status), response.headers.get('retry-after') ?? undefined, refusal))
      } else if (!call.items) {
        next = read<Step>(held().signed_in(await response.text()))
      } else {
        next = await items(response, sent)
      }
    })
  } catch (error) {
    if (error instanceof Failed) throw error
    next = read<Step>(held().broke(String(error)))
  }
  return next ?? read<Step>(held().broke('no answer'))
}

async function items(response: Response, sent: number): Promise<Step> {
  let step = read<Step>(held().answering(response.headers.get('content-type') ?? ''))
  const reader = response.body?.getReader()
  while (step.step === 'read' && reader) {
    const { done, value } = await reader.read()
    listening()
    if (done) return read<Step>(held().over())
    step = read<Step>(held().chunk(value))
    if (step.step === 'read') tell({ told: 'progress', sent, records: step.records, changes: step.changes })
  }
  void reader?.cancel().catch(() => undefined)
  return step
}

let lang = 'zh'
async function done(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'open': lang = order.lang; return open(lang, order.wait, order.practice)
    case 'speak': lang = order.lang; phone?.speak(lang); return null
    case 'ask': return read(held().ask(order.question))
    case 'save': return save(order.question)
    case 'room': return room()
    case 'export': return exported(order.passphrase)
    case 'take_in': return takeIn(order.text, order.passphrase)
    case 'begin_anew': return read(held().begin_anew())
    case 'enrol': return enrol(order.code, order.name, lang)
    case 'synchronise': {
      const { stage } = read<{ stage: string }>(held().ask('{"ask":"state"}'))
      synchronising ??= withReserve(() => synchronise(lang, stage === 'wiped')).then(async (report) => { await there(); return report }).finally(() => { synchronising = null })
      return synchronising
    }
  }
}

onmessage = async ({ data }: MessageEvent<Asked>) => {
  const answer: Answer = { id: data.id }
  try {
    answer.ok = await done(data)
  } catch (error) {
    answer.failed = error instanceof Failed ? error.failure : failed('cut', String(error)).failure
    // A trap of the core: nothing it holds can be used any more, and nothing that was saved is lost.
    if (error instanceof WebAssembly.RuntimeError) tell({ told: 'broken', failure: failed('cut', String(error)).failure })
  }
  postMessage(answer)
}
