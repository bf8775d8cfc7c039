// The worker: holds the phone (the core as wasm, SQLite on the origin's private file system), and carries its requests with fetch.
// Decides nothing of its own but who holds the phone: one page at a time, by a Web Lock.

import init, { Phone } from '@core'
import type { Answer, Asked, Failure, Order, Report, Step, Told } from './types'

const FOLDER = 'lianka-phone'
const LOCK = 'lianka-phone'
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

async function open(lang: string, wait: boolean): Promise<void> {
  if (!(await lock(wait))) throw failed('elsewhere')
  try {
    await init()
    const until = Date.now() + LETTING_GO_MS
    for (;;) {
      try {
        phone = await Phone.open(FOLDER)
        break
      } catch (error) {
        // A worker that ended a moment ago holds its files a little longer.
        const told = typeof error === 'string' ? (JSON.parse(error) as { failed: Failure }).failed : failed('store', String(error)).failure
        if (told.code !== 'busy' || Date.now() > until) throw new Failed(told)
        await pause(100)
      }
    }
    phone.speak(lang)
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
    case 'open': lang = order.lang; return open(lang, order.wait)
    case 'speak': lang = order.lang; phone?.speak(lang); return null
    case 'ask': return read(held().ask(order.question))
    case 'enrol': return enrol(order.code, order.name, lang)
    case 'synchronise': {
      const { stage } = read<{ stage: string }>(held().ask('{"ask":"state"}'))
      synchronising ??= synchronise(lang, stage === 'wiped').finally(() => { synchronising = null })
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
