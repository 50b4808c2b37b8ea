// What does a spectator see?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { LiveError } from '../../live.js'
import { move, signIn, stage, visit } from './world.js'

test('a spectator is shown where everybody is, and then who moves', async (t) => {
  const { topic, imeis: [one, two] } = await stage('add_event')
  const { live, told } = visit(t, await signIn())
  const before = Date.now() - 10_000
  assert.deepEqual(await live.subscribe(topic), { snapshot: [] })
  await move(live, one, before)
  await move(live, two, before)
  const { snapshot } = await live.subscribe(topic)
  assert.deepEqual(snapshot.map(({ deviceId, ts }) => [deviceId, ts]).sort(), [[one, before], [two, before]])
  await move(live, one)
  assert.deepEqual(told.statuses, ['connecting', 'connected'])
  assert.equal(told.snapshots.length, 2)
  const { type, ...position } = told.positions[0]
  assert.deepEqual(position, { topic, deviceId: one, lat: 41.5, lon: 19.5, ts: before, speed: 70, course: 90 })
})

test('a topic that may not be followed is refused with the code of the contract', async (t) => {
  const { live } = visit(t, await signIn())
  for (const [topic, code] of [
    ['event:00000000-0000-4000-8000-000000000000', 'forbidden'],
    ['event:1', 'unknown-topic'],
    ['probe', 'unknown-topic'],
  ]) {
    await assert.rejects(live.subscribe(topic), (error) => error instanceof LiveError && error.code === code, code)
  }
})

test('nothing comes after unsubscribe, and what was missed is in the next snapshot', async (t) => {
  const { topic, imeis: [one] } = await stage('add_event')
  const { topic: other, imeis: [two] } = await stage('add_event')
  const { live, told } = visit(t, await signIn())
  await Promise.all([live.subscribe(topic), live.subscribe(other)])
  live.unsubscribe(topic)
  const ts = Date.now() - 1_000
  await stage('report', { imei: one, ts })
  await move(live, two)
  assert.deepEqual(told.positions.map(({ deviceId }) => deviceId), [two])
  const { snapshot } = await live.subscribe(topic)
  assert.deepEqual(snapshot.map(({ deviceId, ts }) => [deviceId, ts]), [[one, ts]])
})

test('as many topics as a connection may have are followed, and asked for anew faster than the service likes', async (t) => {
  const topics = []
  for (let number = 0; number < 20; number++) topics.push((await stage('add_event')).topic)
  const { live, told } = visit(t, await signIn())
  await live.subscribe(topics[0])
  const [codes, lost] = [new Set(), []]
  told.socket.on('message', (data) => codes.add(JSON.parse(data).code))
  live.onRefusal(({ topic }) => lost.push(topic))
  for (let round = 0; round < 2; round++) await Promise.all(topics.map((topic) => live.subscribe(topic)))
  assert.equal(told.snapshots.length, 41)
  assert.ok(codes.has('rate-limited'))
  assert.deepEqual(lost, [])
  await assert.rejects(live.subscribe((await stage('add_event')).topic), { code: 'too-many-subscriptions' })
})
