// The texts in the language of the page, and days and times as people say them.
import { computed } from 'vue'
import { settings } from '../phone/settings'
import type { Rule } from '../phone/types'
import { en } from './en'
import { zh } from './zh'

export const t = computed(() => (settings.lang === 'zh' ? zh : en))

/** A value as people read it: words of lists in the language of the page. */
export function wordOf(rule: Rule, value: string | null): string | null {
  if (rule.is === 'point') return pointWords(value)
  return rule.is === 'one_of' ? (rule.words.find((word) => word.word === value)?.label ?? value) : value
}

/** A point in words: how well it is known, and no numbers that nobody reads. */
export function pointWords(value: string | null): string | null {
  if (!value) return null
  const accuracy = Number(/;u=(\d+)/.exec(value)?.[1] ?? NaN)
  const p = t.value.place
  if (Number.isNaN(accuracy)) return p.known
  return accuracy <= 15 ? p.good(accuracy) : accuracy <= 60 ? p.fair(accuracy) : p.poor(accuracy)
}

/** A moment in the user's words: never a bare clock time that could be any day's. */
export function when(ms: number | null): string {
  if (ms === null) return ''
  const day: Intl.DateTimeFormatOptions = { month: 'numeric', day: 'numeric' }
  const options: Intl.DateTimeFormatOptions = { ...day, hour: '2-digit', minute: '2-digit', hour12: false }
  if (new Date(ms).getFullYear() !== new Date().getFullYear()) options.year = 'numeric'
  return new Intl.DateTimeFormat(settings.lang === 'zh' ? 'zh-CN' : 'en-GB', options).format(ms)
}

export function span(ms: number): string {
  const minutes = Math.round(Math.abs(ms) / 60_000)
  if (minutes < 90) return t.value.me.minutes(minutes)
  if (minutes < 48 * 60) return t.value.me.hours(Math.round(minutes / 60))
  return t.value.me.days(Math.round(minutes / 1440))
}
