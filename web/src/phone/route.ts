// Where the page is: a few places in the fragment, so that “back” works as people expect.
import { computed, ref } from 'vue'

const at = ref(location.hash)
addEventListener('hashchange', () => { at.value = location.hash; scrollTo(0, 0) })

export const route = computed(() => {
  const [name = '', ...rest] = at.value.replace(/^#\/?/, '').split('/')
  return { name: name.startsWith('enrol=') ? '' : name || 'today', of: rest.map(decodeURIComponent) }
})
export const go = (...to: string[]): void => { location.hash = '/' + to.map(encodeURIComponent).join('/') }
export const href = (...to: string[]): string => '#/' + to.map(encodeURIComponent).join('/')
/** The code of an enrolment link, which no server ever sees. */
export const enrolCode = (): string => new URLSearchParams(at.value.slice(1)).get('enrol') ?? ''
