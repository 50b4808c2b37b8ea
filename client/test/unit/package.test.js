// Is the package what its README promises?
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'

import { createLiveClient } from '../../live.js'

const file = (name) => readFileSync(new URL(`../../${name}`, import.meta.url))
const manifest = JSON.parse(file('package.json'))

test('live.js as it stands here, comments and all, is under 5 KB gzipped', () => {
  assert.ok(gzipSync(file('live.js'), { level: 9 }).length < 5_000)
})

test('it needs nothing at run time, neither a package nor a module of its own', () => {
  assert.equal(manifest.dependencies, undefined)
  assert.doesNotMatch(file('live.js').toString(), /^\s*(import|export .* from)\b|\bimport\(['"](?!\.\/live)|\brequire\(/m)
})

test('the name of the package leads to what live.d.ts declares, and nothing else is exported', async () => {
  const declared = [...file('live.d.ts').toString().matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name)
  assert.deepEqual(Object.keys(await import(manifest.name)).sort(), declared.sort())
})

test('the README names everything that a client can do, and nothing that it cannot', () => {
  const readme = file('README.md').toString()
  const can = Object.keys(createLiveClient({ url: 'wss://rally.example/' })).sort()
  const listed = [...readme.matchAll(/^\| `(\w+)(?:\(\w*\))?` \|/gm)].map(([, name]) => name).sort()
  assert.deepEqual(listed, can)
  for (const [, name] of readme.matchAll(/\blive\.(?!js|d\.ts)(\w+)/g)) assert.ok(can.includes(name), name)
})

test('the licence is in it, which it asks for, and it is that of the project', () => {
  assert.equal(file('LICENSE').toString(), file('../LICENSE').toString())
})

test('the README leads to nothing that is not in it', () => {
  for (const [, target] of file('README.md').toString().matchAll(/\]\((?!https?:)([^)#]*)/g)) {
    assert.ok([...manifest.files, 'LICENSE'].includes(target), target)
  }
})
