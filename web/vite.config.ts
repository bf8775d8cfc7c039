import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vite'

// The core is built by scripts/web.sh; the page takes it as any other module.
const core = fileURLToPath(new URL('../target/web/core/core.js', import.meta.url))

const { version } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')) as { version: string }

export default defineConfig({
  base: '/app/',
  define: { __VERSION__: JSON.stringify(version) },
  plugins: [vue()],
  resolve: { alias: { '@core': core } },
  worker: { format: 'es' },
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: false, cssCodeSplit: false },
})
