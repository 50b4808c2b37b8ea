// What becomes of a spectator whose session ends?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { move, next, signIn, stage, until, visit } from './world.js'

test('who is not signed in is told so, though a browser never sees the 401', async (t) => {
  const { live, told } = visit(t, { cookie: '' })
  const asked = assert.rejects(live.subscribe((await stage('add_event')).topic), { code: 'session-ended' })
  await until(live, 'closed')
  await asked
  assert.deepEqual(told.statuses, ['connecting', 'reconnecting 1006', 'closed signedOut'])
})

test('a browser that holds a newer cookie follows on with it', async (t) => {
  const [one, two] = [await stage('add_event'), await stage('add_event')]
  const jar = await signIn()
  const { live, told } = visit(t, jar)
  await live.subscribe(one.topic)
  await stage('sign_out', { cookie: jar.cookie })
  jar.cookie = await stage('sign_in') // as Directus refreshes it, behind the page's back
  assert.deepEqual(await live.subscribe(two.topic), { snapshot: [] })
  await move(live, one.imeis[0])
  await move(live, two.imeis[0])
  assert.deepEqual(told.statuses, ['connecting', 'connected', 'reconnecting 4401', 'connected'])
})

test('who has signed out is told so, and follows on after signing in', async (t) => {
  const [one, two] = [await stage('add_event'), await stage('add_event')]
  const jar = await signIn()
  const { live, told } = visit(t, jar)
  await live.subscribe(one.topic)
  await stage('sign_out', { cookie: jar.cookie })
  await assert.rejects(live.subscribe(two.topic), { code: 'session-ended' })
  await until(live, 'closed')
  assert.deepEqual(told.statuses, ['connecting', 'connected', 'reconnecting 4401', 'closed signedOut'])
  jar.cookie = await stage('sign_in')
  live.connect()
  await next(live.onSnapshot)
  await move(live, one.imeis[0])
})
