import { createApp } from 'vue'
import App from './App.vue'
import './tokens.css'
import './base.css'
import { start, state, app } from './phone/store'
import { keepShell } from './phone/shell'

createApp(App).mount('#app')
void start().then(keepShell)

// For tests: what the page is doing, so that nobody has to wait for time to pass.
Object.defineProperty(window, '__lianka', {
  value: { idle: () => app.phase !== 'starting' && !app.syncing, unsent: () => state.value?.unsent ?? null, phase: () => app.phase },
})
