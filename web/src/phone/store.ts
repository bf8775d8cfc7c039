// The page's state: what the worker last said, and the few orders that change it. Every count comes from the store, after each order.
import { reactive, shallowRef } from 'vue'
import { t } from '../text'
import { ask, call, listen, Refused, save } from './port'
import { settings } from './settings'
import type { CardLine, Catalogue, Edit, Failure, Receipt, Report, State } from './types'

export type Phase = 'starting' | 'unfit' | 'elsewhere' | 'broken' | 'vanished' | 'open'
type Unfit = 'wechat' | 'old' | 'private' | 'insecure'
const MIRROR = 'lianka-mirror'
/** After the last edit, so that a walk of many taps is one exchange. */
const AFTER_EDIT_MS = 5_000

export const app = reactive({
  phase: 'starting' as Phase,
  unfit: null as Unfit | null,
  failure: null as Failure | null,
  syncing: false,
  progress: '',
  /** The last synchronisation in one sentence. */
  said: '',
  went: '' as '' | 'well' | 'badly',
  what_to_do: '',
  details: '',
  online: navigator.onLine,
  stolen: false,
  /** The phone takes nothing more: what is here can be read, and nothing is typed in vain. */
  full: false,
  lost: null as { unsent: number; at: number } | null,
})
export const state = shallowRef<State | null>(null)
export const catalogue = shallowRef<Catalogue | null>(null)
export const cards = shallowRef<CardLine[]>([])
export const toast = reactive({ text: '', bad: false, undo: null as null | (() => Promise<void>), key: 0 })

/** The browser deleted the data while the page was open. What the open file still holds is handed over where there is a network. */
function vanished(): void {
  if (app.phase === 'vanished') return
  app.phase = 'vanished'
  void synchronise(true)
}

let toasts: ReturnType<typeof setTimeout> | undefined
export function say(text: string, undo: null | (() => Promise<void>) = null, bad = false): void {
  clearTimeout(toasts)
  Object.assign(toast, { text, undo, bad, key: toast.key + 1 })
  toasts = setTimeout(() => { toast.text = '' }, 10_000)
}

/** Cause, and what to do about it. */
export function why(failure: Failure): [string, string] {
  const known = t.value.why[failure.code]
  return known ?? [failure.message || `${t.value.why_other} ${failure.code}`, '']
}
export function sayFailure(error: unknown): void {
  const failure = error instanceof Refused ? error.failure : { code: 'cut', message: String(error), key: null }
  if (failure.code === 'locked' || failure.code === 'wiped') void refresh()
  if (failure.code === 'vanished') return vanished()
  say(why(failure).join(' '), null, true)
}

/** Looks whether the phone takes edits: before anything is typed, since what was typed must not be refused. */
export async function lookForRoom(): Promise<void> {
  app.full = !(await call<boolean>({ do: 'room' }).catch(() => true))
}
/** What every way to an edit asks first. */
export async function mayWrite(): Promise<boolean> {
  if (app.full) await lookForRoom()
  if (!app.full) return true
  say(t.value.full, null, true)
  return false
}

/** Whether this browser can keep data at all; asked before anything is typed. */
async function fitness(): Promise<Unfit | null> {
  if (/MicroMessenger/i.test(navigator.userAgent)) return 'wechat'
  if (!isSecureContext) return 'insecure'
  if (!navigator.storage?.getDirectory || !navigator.locks || typeof WebAssembly === 'undefined' || typeof BroadcastChannel === 'undefined') return 'old'
  try { await navigator.storage.getDirectory() } catch { return 'private' }
  return null
}

export async function start(wait = false): Promise<void> {
  app.phase = 'starting'
  app.stolen = false
  app.unfit = await fitness()
  if (app.unfit) { app.phase = 'unfit'; return }
  try {
    await call({ do: 'open', lang: settings.lang, wait, practice: practises() })
    await refresh()
    if (!practises()) await compareMirror()
    app.phase = 'open'
    if (state.value?.stage === 'ready') await lookForRoom()
    if (state.value?.stage === 'ready' || state.value?.report_owed) void synchronise(false)
  } catch (error) {
    const failure = error instanceof Refused ? error.failure : { code: 'cut', message: String(error), key: null }
    app.failure = failure
    app.stolen = wait
    app.phase = failure.code === 'elsewhere' || (failure.code === 'busy' && !wait) ? 'elsewhere' : 'broken'
  }
}

/** A small copy of what must not vanish unseen: where the browser deletes the store, the page can say what was in it. */
function mirror(now: State): void {
  try { localStorage.setItem(MIRROR, JSON.stringify({ device: now.device, unsent: now.unsent, at: Date.now() })) } catch { /* Only a help. */ }
}
async function compareMirror(): Promise<void> {
  try {
    const kept = JSON.parse(localStorage.getItem(MIRROR) ?? 'null') as { unsent: number; at: number } | null
    if (kept && state.value?.stage === 'new') app.lost = kept
  } catch { /* Only a help. */ }
}

export async function refresh(): Promise<void> {
  const now = await ask<State>({ ask: 'state' })
  state.value = now
  if (now.stage === 'ready') {
    if (!now.practice) mirror(now)
    catalogue.value ??= await ask<Catalogue>({ ask: 'catalogue' })
    cards.value = await ask<CardLine[]>({ ask: 'cards' })
  } else {
    cards.value = []
    if (now.stage === 'wiped') try { localStorage.removeItem(MIRROR) } catch { /* Only a help. */ }
  }
}
export async function speak(lang: 'zh' | 'en'): Promise<void> {
  // What was said is in the other language.
  toast.text = ''
  settings.lang = lang
  await call({ do: 'speak', lang })
  if (state.value?.stage === 'ready') catalogue.value = await ask<Catalogue>({ ask: 'catalogue' })
}

/** What made a record, or is kept as it was written, has no way back. */
const UNDOABLE = new Set(['edit', 'confirm', 'add_contact'])
/** Carries an edit out; true where it was saved. The sheet stays open where it was not. */
export async function write(question: { ask: string; [more: string]: unknown }, done = t.value.saved): Promise<Receipt | null> {
  const receipt = await save<Receipt>(question).catch((error: unknown) => {
    if (error instanceof Refused && error.failure.code === 'vanished') vanished()
    throw error
  })
  await refresh()
  const { record, hash } = receipt
  say(done, hash && UNDOABLE.has(question.ask) ? () => undo(record, hash) : null)
  later()
  return receipt
}
export const edit = (record: string, edits: Edit[]) => write({ ask: 'edit', record, edits })
export async function confirm(record: string): Promise<void> {
  if (!(await mayWrite())) return
  try { await write({ ask: 'confirm', record }) } catch (error) { sayFailure(error) }
}
export async function undo(record: string, hash: string): Promise<void> {
  try {
    const receipt = await save<Receipt>({ ask: 'undo', record, hash })
    await refresh()
    say(receipt.hash ? t.value.undone : t.value.nothing_to_undo)
    later()
  } catch (error) { sayFailure(error) }
}

let soon: ReturnType<typeof setTimeout> | undefined
function later(): void {
  clearTimeout(soon)
  soon = setTimeout(() => void synchronise(false), AFTER_EDIT_MS)
}

/** Every tap ends in one sentence; what happens by itself says only what went well, and why something is still here. */
export async function synchronise(tapped: boolean): Promise<void> {
  if (state.value?.practice) { if (tapped) say(t.value.practice.no_sync); return }
  if (app.syncing || (app.phase !== 'open' && app.phase !== 'vanished') || state.value?.stage === 'new') return
  app.syncing = true
  app.progress = ''
  if (tapped) Object.assign(app, { said: '', what_to_do: '', details: '', went: '' })
  try {
    const report = await call<Report>({ do: 'synchronise' })
    // What has arrived is not taken back by this button any more.
    if (toast.undo) toast.text = ''
    const s = t.value.sync
    const words = [s.done(report.accepted + report.duplicate, report.snapshots + report.changes)]
    if (report.held) words.push(s.done_held(report.held))
    if (report.drafted) words.push(s.done_drafted(report.drafted))
    if (report.unsent) words.push(s.left(report.unsent))
    Object.assign(app, { said: words.join(' '), what_to_do: '', details: '', went: 'well' })
  } catch (error) {
    const failure = error instanceof Refused ? error.failure : { code: 'cut', message: String(error), key: null }
    if (failure.code === 'vanished') app.phase = 'vanished'
    const [cause, step] = why(failure)
    Object.assign(app, { said: cause, what_to_do: step, details: failure.message, went: 'badly' })
  } finally {
    app.syncing = false
    app.progress = ''
    await refresh().catch(() => undefined)
  }
}

const PRACTICE = 'lianka-practice'
/** Whether this page is for practice; as long as it is open, and no longer. */
export function practises(): boolean {
  try { return sessionStorage.getItem(PRACTICE) !== null } catch { return false }
}
export function practise(): void {
  sessionStorage.setItem(PRACTICE, 'yes')
  location.assign('#/')
  location.reload()
}
/** What was practised goes; the phone's own data were never touched. */
export async function endPractice(): Promise<void> {
  await call({ do: 'begin_anew' }).catch(() => undefined)
  sessionStorage.removeItem(PRACTICE)
  location.assign('#/')
  location.reload()
}

/** A wiped phone that has told the office so becomes a new one. */
export async function beginAnew(): Promise<void> {
  try {
    await call({ do: 'begin_anew' })
    await refresh()
  } catch (error) { sayFailure(error) }
}

export async function enrol(code: string, name: string): Promise<void> {
  await call({ do: 'enrol', code: code.trim(), name: name.trim() })
  app.lost = null
  await refresh()
  void navigator.storage.persist?.()
  void lookForRoom()
  void synchronise(false)
}

let listed = 0
listen((told) => {
  switch (told.told) {
    case 'progress':
      app.progress = t.value.sync.progress(told.sent, told.records + told.changes)
      // The list is usable while it comes, and read anew now and then.
      if (!state.value?.complete && told.records > listed + 200) { listed = told.records; void refresh().catch(() => undefined) }
      break
    case 'waiting': app.progress = t.value.sync.again(told.failures); break
    case 'full': app.full = true; break
    case 'taken': app.phase = 'elsewhere'; state.value = null; break
    case 'broken': app.failure = told.failure; app.phase = 'broken'; break
  }
})
addEventListener('online', () => { app.online = true; void synchronise(false) })
addEventListener('offline', () => { app.online = false })
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') void synchronise(false)
})
