// The shell: its service worker, and the moment at which a new version takes over. Never touches the phone's data.
import { reactive } from 'vue'
import { app } from './store'

export const shell = reactive({ waiting: false, installable: null as null | (() => void) })
const HIDDEN_MS = 30_000
let registration: ServiceWorkerRegistration | undefined

/** Whether nothing is typed and nothing is under way. */
function idle(): boolean {
  const typed = [...document.querySelectorAll<HTMLInputElement | HTMLTextAreaElement>('input:not([type=radio]):not([type=checkbox]), textarea')].some((input) => input.value)
  return !app.syncing && !typed && !document.querySelector('dialog[open]')
}

export function update(): void {
  registration?.waiting?.postMessage('take-over')
}

export async function keepShell(): Promise<void> {
  if (!('serviceWorker' in navigator) || !import.meta.env.PROD) return
  let reloads = Boolean(navigator.serviceWorker.controller)
  navigator.serviceWorker.addEventListener('controllerchange', () => {
    // The first worker takes over a page that is current already.
    if (reloads) location.reload()
    reloads = true
  })
  try {
    registration = await navigator.serviceWorker.register('/app/sw.js', { scope: '/app/', updateViaCache: 'none' })
  } catch {
    return
  }
  const look = () => { shell.waiting = Boolean(registration?.waiting && navigator.serviceWorker.controller) }
  registration.addEventListener('updatefound', () => registration?.installing?.addEventListener('statechange', look))
  look()
  // A cold start is an idle moment: nothing was typed yet.
  if (registration.waiting && navigator.serviceWorker.controller && idle()) update()
  let hidden: ReturnType<typeof setTimeout> | undefined
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hidden)
    if (document.visibilityState === 'hidden') hidden = setTimeout(() => { if (shell.waiting && idle()) update() }, HIDDEN_MS)
    else void registration?.update().catch(() => undefined)
  })
}

addEventListener('beforeinstallprompt', (event) => {
  event.preventDefault()
  shell.installable = () => { void (event as Event & { prompt: () => Promise<void> }).prompt(); shell.installable = null }
})
