// How wrong the phone's clock is, in words; nothing where it does not matter.
import { computed } from 'vue'
import { state } from '../phone/store'
import { span, t } from '.'

const CLOCKS_DIFFER_MS = 5 * 60_000

export const clockWords = computed(() => {
  const ahead = state.value?.clock_ahead_ms ?? 0
  if (Math.abs(ahead) < CLOCKS_DIFFER_MS) return ''
  return ahead > 0 ? t.value.me.clock_ahead(span(ahead)) : t.value.me.clock_behind(span(ahead))
})
