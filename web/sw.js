// The shell's service worker: one versioned cache, filled whole or not at all. A new version waits until the page says that the moment is right.
// The list and the version are put in by finish.mjs.
const VERSION = '__VERSION__'
const FILES = ['__FILES__']
const CACHE = `lianka-shell-${VERSION}`

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: 'reload' })))))
})
self.addEventListener('message', (event) => {
  if (event.data === 'take-over') self.skipWaiting()
})
self.addEventListener('activate', (event) => {
  const others = (names) => names.filter((name) => name.startsWith('lianka-shell-') && name !== CACHE)
  event.waitUntil(caches.keys().then((names) => Promise.all(others(names).map((name) => caches.delete(name)))).then(() => self.clients.claim()))
})
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url)
  if (event.request.method !== 'GET' || url.origin !== location.origin || !url.pathname.startsWith('/app/')) return
  const wanted = event.request.mode === 'navigate' ? '/app/' : url.pathname
  event.respondWith(caches.open(CACHE).then((cache) => cache.match(wanted)).then((kept) => kept ?? fetch(event.request)))
})
