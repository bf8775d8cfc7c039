// The page's side of the worker: one typed call, and a listener for what it says unasked.

import type { Answer, Asked, Failure, Order, Told } from './types'

export class Refused extends Error {
  constructor(readonly failure: Failure) { super(failure.code) }
}

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
const waiting = new Map<number, { then: (ok: unknown) => void; not: (error: Refused) => void }>()
let last = 0
let hear: (told: Told) => void = () => undefined

worker.onmessage = ({ data }: MessageEvent<Answer | Told>) => {
  if ('told' in data) return hear(data)
  const asked = waiting.get(data.id)
  waiting.delete(data.id)
  if (data.failed) asked?.not(new Refused(data.failed))
  else asked?.then(data.ok)
}
worker.onerror = (event) => hear({ told: 'broken', failure: { code: 'cut', message: event.message, key: null } })

export function call<T = unknown>(order: Order): Promise<T> {
  const id = ++last
  return new Promise<T>((then, not) => {
    waiting.set(id, { then: then as (ok: unknown) => void, not })
    worker.postMessage({ ...order, id } satisfies Asked)
  })
}
export const ask = <T>(question: { ask: string; [more: string]: unknown }): Promise<T> => call<T>({ do: 'ask', question: JSON.stringify(question) })
/** Like ask, for what must be on the disk afterwards. */
export const save = <T>(question: { ask: string; [more: string]: unknown }): Promise<T> => call<T>({ do: 'save', question: JSON.stringify(question) })
export const listen = (listener: (told: Told) => void): void => { hear = listener }
