// Does the README's first example lead those to the login who have to sign in, and nobody else?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { run } from './readme.js'
import { outcome, settled } from './world.js'

/** Run the example while Directus answers a question for the user with `status`. */
function begin(t, status) {
  const page = { went: [], said: [], banner: {} }
  const { world, running } = run(t, 'js', {
    banner: page.banner,
    fetch: async () => ({ status }),
    location: { assign: (path) => page.went.push(path) },
    map: { replaceAll: () => {}, move: () => {}, say: (text) => page.said.push(text) },
  })
  return Object.assign(page, { world, running })
}

for (const status of [401, 403]) { // a session that has ended, and a token that was cut or forged
  test(`who is refused, and at /users/me is answered ${status}, has to sign in`, async (t) => {
    const { world, went } = begin(t, status)
    world.socket.ends(1006)
    await world.pass(1_000)
    assert.deepEqual(went, ['/login'])
    assert.deepEqual(world.statuses, ['connecting', 'reconnecting', 'closed'])
  })
}

for (const status of [200, 429, 503]) {
  test(`who is refused, and at /users/me is answered ${status}, comes back`, async (t) => {
    const { world, went } = begin(t, status)
    world.socket.ends(1006)
    await world.untilNextSocket()
    assert.deepEqual(went, [])
  })
}

test('who may not see the event is told so', async (t) => {
  const { world, running, said } = begin(t, 200)
  world.socket.opens()
  world.socket.answers('error', { code: 'forbidden', message: 'for a human' }, world.socket.said[0].topic)
  await settled()
  assert.equal(await outcome(running), 'resolved')
  assert.deepEqual(said, ['You may not see this event.'])
})
