// After vite: names the shell's files to the service worker, and packs what a browser takes packed.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'

const dist = new URL('./dist/', import.meta.url).pathname
const walk = (folder) => readdirSync(folder).flatMap((name) => {
  const path = join(folder, name)
  return statSync(path).isDirectory() ? walk(path) : [path]
})
const named = (path) => relative(dist, path).split(sep).join('/')
const files = walk(dist).filter((path) => !/(\.br|sw\.js|\.keep)$/.test(path)).sort()
const hash = createHash('sha256')
for (const path of files) hash.update(named(path)).update(readFileSync(path))
const version = hash.digest('hex').slice(0, 16)
const list = files.map(named).filter((name) => name !== 'index.html').map((name) => `/app/${name}`)
const worker = readFileSync(new URL('./sw.js', import.meta.url), 'utf8').replace('__VERSION__', version).replace("['__FILES__']", JSON.stringify(['/app/', ...list]))
writeFileSync(join(dist, 'sw.js'), worker)

let script = 0
let wasm = 0
for (const path of [...files, join(dist, 'sw.js')]) {
  if (!/\.(js|css|html|wasm|svg|webmanifest)$/.test(path)) continue
  const packed = brotliCompressSync(readFileSync(path), { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 22 } })
  writeFileSync(`${path}.br`, packed)
  if (path.endsWith('.wasm')) wasm += packed.length
  if (/\.(js|css)$/.test(path)) script += packed.length
}
const kb = (bytes) => (bytes / 1000).toFixed(1)
console.log(`web: ${version}, packed: JavaScript and CSS ${kb(script)} kB, wasm ${kb(wasm)} kB`)
