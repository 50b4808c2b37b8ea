// What do the examples of the README do, when they are run as they stand there?
import { readFileSync } from 'node:fs'

import { World } from './world.js'

const README = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
const AsyncFunction = (async () => {}).constructor

/**
 * Run the first example in a language, with these names around it; return the world of its client, and what the example
 * exports, as soon as it is through.
 */
export function run(t, language, around) {
  const [, example] = README.match(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's'))
  const exported = [...example.matchAll(/^export function (\w+)/gm)].map(([, name]) => name)
  const code = example.replace(/^import .*$/gm, '').replace(/^export /gm, '')
  let world
  const names = {
    ...around,
    createLiveClient({ isSignedIn }) {
      world = new World(t, { isSignedIn })
      return world.live
    },
  }
  const running = new AsyncFunction(...Object.keys(names), `${code}\nreturn { ${exported} }`)(...Object.values(names))
  return { world, running }
}
