// How the page looks to its user: language, size of text, contrast. Kept beside the phone's data, and none of it personal.
import { reactive, watchEffect } from 'vue'

export interface Settings { lang: 'zh' | 'en'; size: 'standard' | 'large' | 'larger'; contrast: 'normal' | 'strong' }
const KEPT = 'lianka-settings'

function kept(): Partial<Settings> {
  try { return JSON.parse(localStorage.getItem(KEPT) ?? '{}') as Partial<Settings> } catch { return {} }
}
export const settings = reactive<Settings>({ lang: 'zh', size: 'standard', contrast: 'normal', ...kept() })

watchEffect(() => {
  const root = document.documentElement
  root.lang = settings.lang === 'zh' ? 'zh-CN' : 'en'
  root.dataset.size = settings.size
  root.dataset.contrast = settings.contrast
  try { localStorage.setItem(KEPT, JSON.stringify(settings)) } catch { /* A full or private store: the choice lasts as long as the page. */ }
})
