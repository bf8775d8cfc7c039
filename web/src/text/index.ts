// The texts in the language of the page, and days and times as people say them.
import { computed } from 'vue'
import { settings } from '../phone/settings'
import { en } from './en'
import { zh } from './zh'

export const t = computed(() => (settings.lang === 'zh' ? zh : en))

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
