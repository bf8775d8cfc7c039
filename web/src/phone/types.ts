// What the core in the worker answers. The shapes are written by client-web/src/phone.rs and shown.rs.

export interface Failure { code: string; message: string; key: string | null }
export type Place = 'office' | 'phone' | 'held' | 'draft'

export interface Grid { grid: string; name: string; area: string }
export type Stage = 'new' | 'ready' | 'locked' | 'wiped'
export interface State {
  stage: Stage
  wiped_at?: string
  report_owed?: boolean
  name: string
  username: string
  role: string
  street: string
  grids: Grid[]
  device: string
  practice: boolean
  last_sync: number | null
  clock_ahead_ms: number | null
  today: string
  lease_left_ms: number | null
  complete: boolean
  records: number
  unsent: number
  held: number
  drafts: number
  notices: number
}

export interface Word { word: string; label: string }
export type Rule =
  | { is: 'text'; max: number }
  | { is: 'note'; max: number }
  | { is: 'whole'; min: number; max: number }
  | { is: 'one_of'; words: Word[] }
  | { is: 'date' } | { is: 'minute' } | { is: 'point' } | { is: 'flag' } | { is: 'reference' }

export interface FieldKind {
  name: string
  label: string
  list: string | null
  rule: Rule
  required: boolean
  sensitive: boolean
  editable: boolean
  creatable: boolean
}
export interface Said { text: string; own: boolean; at: number | null }
export interface Field extends FieldKind {
  key: string
  value: string | null
  values: Said[]
  conflict: boolean
  state: Place
}
export interface Catalogue { kinds: Record<string, { label: string; fields: FieldKind[] }>; contact: FieldKind[] }

export interface CardLine {
  record: string
  grid: string
  title: string | null
  door: string
  road: string | null
  side: 'odd' | 'even' | null
  category: string | null
  occupancy: string | null
  confirmed: string | null
  conflicts: number
  unreadable: boolean
  state: 'office' | 'phone' | 'held'
}
export interface Contact {
  entry: string
  fields: Field[]
  numbers: { shown: string; dial: string }[]
  consents: { label: string; grants: boolean; on: string | null }[]
  sensitive: Field | null
  consented: boolean
}
export interface Line { label: string; old?: string | null; new: string | null }
export interface Reason { code: string; field: string | null; message: string | null }
export interface Entry {
  record: string
  kind: string
  hash: string
  at: number
  state: 'phone' | 'held'
  creating: boolean
  undoable: boolean
  reason: Reason | null
  lines: Line[]
  title?: string | null
}
export interface Draft { id: number; record: string; kind: string; title: string | null; at: number; reason: Reason; lines: Line[] }
export interface Card {
  record: string
  grid: string
  title: string | null
  door: string
  merged_into: string | null
  leaving: boolean
  last_confirmed_on: string | null
  fields: Field[]
  contacts: Contact[]
  tags: string[]
  custom: Record<string, string>
  note: { text: string; state: Place; label: string; rule: Rule; editable: boolean } | null
  outbox: Entry[]
  drafts: Draft[]
}
export interface Visit {
  record: string
  at: string | null
  channel: string | null
  outcome: string | null
  topics: string[]
  remark: string | null
  card_version: string | null
  own: boolean
  void: string | null
  replaced: boolean
  state: Place
}
export interface TransferLine {
  record: string
  grid: string
  member_alias: string | null
  transfer_kind: string | null
  state: string
  state_label: string
  pending: string[]
  ruling: string | null
  acting: string
  next: string
  bring: string
  member: string
  due_on: string | null
  place: 'office' | 'phone' | 'held'
}
export interface TransferField extends Field { sealed: boolean }
export interface TransferEvent { event: string; label: string; became: string | null; at: number | null; by: string | null; words: string[] }
export interface Transfer {
  summary: TransferLine
  fields: TransferField[]
  mends: boolean
  consented: boolean
  lacks: { label: string; consent: boolean } | null
  submits: boolean
  withdraws: boolean
  leaving: boolean
  events: TransferEvent[]
  outbox: Entry[]
}
export interface Notice { kind: string; record: string; title: string | null; field: string | null; at: number; note: string | null; unread: boolean }
export interface Alike { record: string; title: string | null; door: string; reasons: string[] }
export interface TakenIn { entries: number; drafts: number; known: number }
export interface Receipt { record: string; hash: string | null }

export type Edit = { put: { key: string; value: string | boolean } } | { delete: { key: string } } | { note: { text: string } }

export interface Report { accepted: number; duplicate: number; held: number; rejected: number; snapshots: number; changes: number; drafted: number; unsent: number; wiped: boolean }
export type Step =
  | { step: 'send'; path: string; media_type: string; token: string | null; items: boolean; changes: number }
  | { step: 'read'; records: number; changes: number }
  | { step: 'wait'; ms: number; failures: number }
  | { step: 'done'; report: Report }
  | { step: 'failed'; failure: Failure }

// What the page asks of the worker beside questions, and what the worker says unasked.
export type Order =
  | { do: 'open'; lang: string; wait: boolean; practice: boolean }
  | { do: 'speak'; lang: string }
  | { do: 'ask'; question: string }
  | { do: 'save'; question: string }
  | { do: 'enrol'; code: string; name: string }
  | { do: 'begin_anew' }
  | { do: 'room' }
  | { do: 'export'; passphrase: string }
  | { do: 'take_in'; text: string; passphrase: string }
  | { do: 'synchronise' }
export type Asked = Order & { id: number }
export type Answer = { id: number; ok?: unknown; failed?: Failure }
export type Told =
  | { told: 'progress'; sent: number; records: number; changes: number }
  | { told: 'waiting'; failures: number }
  | { told: 'taken' }
  | { told: 'full' }
  | { told: 'broken'; failure: Failure }
