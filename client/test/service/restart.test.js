// What does a spectator see of a service that restarts or dies?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { move, next, signIn, stage, until, visit } from './world.js'

for (const [end, code] of [['restart', 1012], ['kill', 1006]]) {
  test(`after a ${end} everything that was followed is followed again, from a fresh snapshot on`, async (t) => {
    const events = [await stage('add_event'), await stage('add_event')]
    const { live, told } = visit(t, await signIn())
    await Promise.all(events.map(({ topic }) => live.subscribe(topic)))
    const before = Date.now()
    await move(live, events[0].imeis[0], before)
    const fresh = Promise.all(events.map((event) => next(live.onSnapshot, ({ topic }) => topic === event.topic)))
    await stage(end)
    const [{ snapshot }] = await fresh
    assert.deepEqual(snapshot.map(({ deviceId, ts }) => [deviceId, ts]), [[events[0].imeis[0], before]])
    await move(live, events[0].imeis[0])
    await move(live, events[1].imeis[0])
    assert.deepEqual(told.statuses, ['connecting', 'connected', `reconnecting ${code}`, 'connected'])
  })
}

test('an event that has been closed to the spectator is reported as refused, and the others go on', async (t) => {
  const [open, closed] = [await stage('add_event'), await stage('add_event')]
  const { live, told } = visit(t, await signIn())
  await Promise.all([live.subscribe(open.topic), live.subscribe(closed.topic)])
  await stage('forbid', { topic: closed.topic })
  const news = Promise.all([next(live.onRefusal), next(live.onSnapshot)])
  told.socket.terminate()
  const [refusal, { topic }] = await news
  assert.deepEqual([refusal.code, refusal.topic, topic], ['forbidden', closed.topic, open.topic])
  await move(live, open.imeis[0])
})

test('a client that finds no service comes in when there is one', async (t) => {
  const { topic } = await stage('add_event')
  await stage('stop')
  const { live } = visit(t, await signIn())
  const asked = live.subscribe(topic)
  await until(live, 'reconnecting')
  await stage('serve')
  assert.deepEqual(await asked, { snapshot: [] })
})
