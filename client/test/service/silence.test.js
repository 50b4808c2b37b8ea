// Is a quiet connection told from a dead one? The service is real; the client's clock is the test's, or this took minutes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mock, test } from 'node:test'

import { signIn, stage, until, visit } from './world.js'

/** A spectator of an event in which nothing happens. */
async function watchNothing(t) {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
  const world = visit(t, await signIn())
  await world.live.subscribe((await stage('add_event')).topic)
  const { socket } = world.told
  return { ...world, socket, send: t.mock.method(socket, 'send').mock }
}

test('a connection on which nothing happens for five minutes is kept, because the service answers probes', async (t) => {
  const { live, told, socket, send } = await watchNothing(t)
  const answers = []
  socket.on('message', (data) => answers.push(JSON.parse(data)))
  for (let second = 0; second < 300; second++) {
    const before = send.callCount()
    mock.timers.tick(1_000)
    if (send.callCount() > before) await once(socket, 'message')
  }
  assert.equal(live.status, 'connected')
  assert.deepEqual(told.statuses, ['connecting', 'connected'])
  assert.ok(answers.length >= 10 && answers.length <= 15, `${answers.length} answers`)
  assert.deepEqual(new Set(answers.map(({ type, topic }) => `${type} ${topic}`)), new Set(['unsubscribed probe']))
})

test('a service that hangs is left within a minute, and come back to', async (t) => {
  const { live, told } = await watchNothing(t)
  await stage('freeze')
  for (let second = 0; second < 60 && live.status === 'connected'; second++) mock.timers.tick(1_000)
  assert.deepEqual(told.statuses.slice(2), ['reconnecting 1006'])
  await stage('thaw')
  mock.timers.tick(100)
  await until(live, 'connected')
})

test('a page that wakes beside a service that hangs does not wait for a minute', async (t) => {
  const window = new EventTarget()
  const { addEventListener, removeEventListener } = window
  Object.assign(globalThis, { addEventListener: addEventListener.bind(window), removeEventListener: removeEventListener.bind(window) })
  t.after(() => { delete globalThis.addEventListener; delete globalThis.removeEventListener })
  const { live, told, socket } = await watchNothing(t)
  window.dispatchEvent(new Event('online'))
  await once(socket, 'message')
  mock.timers.tick(7_000)
  assert.equal(live.status, 'connected')
  await stage('freeze')
  window.dispatchEvent(new Event('online'))
  mock.timers.tick(7_000)
  assert.deepEqual(told.statuses.slice(2), ['reconnecting 1006'])
  await stage('thaw')
})
