// When does the client connect, come back, and give up?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { OTHER, outcome, TOPIC, World } from './world.js'

test('it is idle until it is told to connect, and then says what becomes of it', async (t) => {
  const world = new World(t)
  assert.equal(world.live.status, 'idle')
  assert.equal(world.sockets.length, 0)
  world.live.connect()
  assert.equal(world.live.status, 'connecting')
  world.socket.opens()
  world.socket.ends(1006)
  assert.equal(world.live.status, 'reconnecting')
  await world.untilNextSocket()
  world.socket.opens()
  world.live.close()
  assert.equal(world.socket.closeCode, 1000)
  assert.deepEqual(world.told, [
    { status: 'connecting' },
    { status: 'connected' },
    { status: 'reconnecting', code: 1006 },
    { status: 'connected' },
    { status: 'closed' },
  ])
})

test('connecting twice, or while connected, opens one socket', (t) => {
  const world = new World(t)
  world.live.connect()
  world.live.connect()
  world.socket.opens()
  world.live.connect()
  assert.equal(world.sockets.length, 1)
})

for (const [url, opened] of [
  ['/ws-live', 'wss://rally.example/ws-live'],
  ['https://live.example:8443/', 'wss://live.example:8443/'],
  ['http://127.0.0.1:8081/ws-live', 'ws://127.0.0.1:8081/ws-live'],
  ['ws://127.0.0.1:8081/ws-live', 'ws://127.0.0.1:8081/ws-live'],
]) {
  test(`the url ${url} is opened as ${opened}`, (t) => {
    globalThis.location = { href: 'https://rally.example/events/7?tab=map' }
    t.after(() => { delete globalThis.location })
    const world = new World(t, { url })
    world.live.connect()
    assert.equal(world.socket.url, opened)
  })
}

test('each failure in a row doubles the bound of the wait, up to 30 s, and the wait is any part of it', async (t) => {
  const world = new World(t)
  world.random = 0.999
  world.live.connect()
  for (const bound of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    world.socket.ends(1006)
    assert.equal(await world.untilNextSocket(), Math.ceil((bound * 0.999) / 10) * 10)
  }
  world.random = 0
  world.socket.ends(1006)
  assert.equal(await world.untilNextSocket(1), 1)
})

test('a connection that is open for less than 30 s forgives nothing', async (t) => {
  const world = new World(t)
  world.random = 0.999
  world.live.connect()
  for (const bound of [1_000, 2_000, 4_000]) {
    world.socket.opens()
    await world.pass(29_999)
    world.socket.ends(1006)
    assert.equal(await world.untilNextSocket(), bound)
  }
  world.socket.opens()
  await world.pass(30_000)
  world.socket.ends(1006)
  assert.equal(await world.untilNextSocket(), 1_000)
})

test('a goodbye is no failure: after 1012 it comes back within a second, however often', async (t) => {
  const world = new World(t)
  world.random = 0.999
  world.live.connect()
  for (let restarts = 0; restarts < 5; restarts++) {
    world.socket.opens()
    world.socket.ends(1012)
    assert.deepEqual(world.told.at(-1), { status: 'reconnecting', code: 1012 })
    assert.equal(await world.untilNextSocket(), 1_000)
  }
  world.socket.ends(1006)
  assert.equal(await world.untilNextSocket(), 1_000)
})

for (const code of [1000, 1001, 1005, 1006, 1011, 1013, 4000]) {
  test(`after ${code} it comes back with back-off`, async (t) => {
    const world = new World(t).follow()
    world.socket.ends(code)
    assert.deepEqual(world.told.at(-1), { status: 'reconnecting', code })
    assert.equal(world.sockets.length, 1)
    assert.equal(await world.untilNextSocket(), 500)
  })
}

for (const code of [1002, 1007, 1008, 1009]) {
  test(`after ${code}, which it has brought upon itself, it does not come back by itself`, async (t) => {
    const world = new World(t).follow()
    const waiting = world.live.subscribe(OTHER)
    world.socket.ends(code)
    assert.deepEqual(world.told.at(-1), { status: 'closed', code, reason: 'refused' })
    assert.equal(await outcome(waiting), 'closed')
    await world.pass(120_000)
    assert.equal(world.sockets.length, 1)
  })
}

test('after 4401 it comes back once, at once, because the browser may hold a newer cookie', async (t) => {
  const world = new World(t).follow()
  world.socket.ends(4401)
  assert.deepEqual(world.told.at(-1), { status: 'reconnecting', code: 4401 })
  assert.equal(world.sockets.length, 2)
  world.socket.opens()
  world.socket.ends(4401)
  assert.deepEqual(world.told.at(-1), { status: 'closed', code: 4401, reason: 'signedOut' })
  await world.pass(120_000)
  assert.equal(world.sockets.length, 2)
})

test('a 4401 after 30 s of stability is a new one', async (t) => {
  const world = new World(t).follow()
  for (const sockets of [2, 3]) {
    world.socket.ends(4401)
    assert.equal(world.sockets.length, sockets)
    world.socket.opens()
    await world.pass(30_000)
  }
})

test('who cannot ask whether he is signed in takes a 4401 at its word when the retry fails', async (t) => {
  const world = new World(t).follow()
  world.socket.ends(4401)
  world.socket.ends(1006)
  await world.pass(1_000)
  assert.deepEqual(world.told.at(-1), { status: 'closed', code: 1006, reason: 'signedOut' })
  assert.equal(world.sockets.length, 2)
})

test('who cannot ask keeps trying when nothing says that he is signed out', async (t) => {
  const world = new World(t)
  world.live.connect()
  for (let attempt = 0; attempt < 5; attempt++) {
    world.socket.ends(1006)
    await world.untilNextSocket()
  }
  world.socket.opens()
  assert.deepEqual(world.statuses, ['connecting', 'reconnecting', 'connected'])
})

test('it asks whether the user is signed in before it tries again what was refused', async (t) => {
  let asked = 0
  const world = new World(t, { isSignedIn: async () => ++asked < 3 })
  world.live.connect()
  world.socket.ends(1006)
  assert.equal(asked, 0) // not before the wait is over: a crowd would ask all at once
  await world.untilNextSocket()
  assert.equal(asked, 1)
  world.socket.ends(1006)
  await world.untilNextSocket()
  assert.equal(asked, 2)
  world.socket.ends(1006)
  await world.pass(4_000)
  assert.deepEqual(world.told.at(-1), { status: 'closed', code: 1006, reason: 'signedOut' })
  assert.equal(world.sockets.length, 3)
})

test('it does not ask when a connection is lost that was open: a restart would send everybody to Directus', async (t) => {
  const isSignedIn = t.mock.fn(() => true)
  const world = new World(t, { isSignedIn }).follow()
  world.socket.ends(1012)
  await world.untilNextSocket()
  assert.equal(isSignedIn.mock.callCount(), 0)
})

test('after a 4401, too, the answer decides', async (t) => {
  const world = new World(t, { isSignedIn: () => true }).follow()
  world.socket.ends(4401)
  world.socket.ends(1006)
  await world.untilNextSocket()
  assert.equal(world.live.status, 'reconnecting')
})

for (const [what, isSignedIn] of [
  ['fails', () => { throw new Error('offline') }],
  ['rejects', () => Promise.reject(new Error('offline'))],
  ['says nothing of use', () => undefined],
]) {
  test(`an isSignedIn that ${what} ends nothing`, async (t) => {
    const world = new World(t, { isSignedIn })
    world.live.connect()
    world.socket.ends(1006)
    assert.equal(await world.untilNextSocket(), 500)
  })
}

test('an isSignedIn that does not answer in 5 s holds nothing up, and its late answer ends nothing', async (t) => {
  let answer
  const world = new World(t, { isSignedIn: () => new Promise((resolve) => { answer = resolve }) })
  world.live.connect()
  world.socket.ends(1006)
  assert.equal(await world.untilNextSocket(), 5_500)
  answer(false)
  await world.pass(1)
  world.socket.opens()
  assert.equal(world.live.status, 'connected')
})

test('an answer that comes after close ends and opens nothing', async (t) => {
  let answer
  const world = new World(t, { isSignedIn: () => new Promise((resolve) => { answer = resolve }) })
  world.live.connect()
  world.socket.ends(1006)
  await world.pass(500)
  world.live.close()
  answer(true)
  await world.pass(120_000)
  assert.equal(world.sockets.length, 1)
})

test('a handshake that takes more than 10 s has failed', async (t) => {
  const world = new World(t)
  world.live.connect()
  const [first] = world.sockets
  await world.pass(9_999)
  assert.equal(first.closeCode, undefined)
  await world.pass(1)
  assert.equal(first.closeCode, 1000)
  await world.pass(500)
  assert.equal(world.sockets.length, 2)
  first.opens() // too late
  first.ends(1000)
  assert.equal(world.live.status, 'reconnecting')
})

test('what comes from a connection that has been given up is nobody’s', async (t) => {
  const world = new World(t).follow()
  const [first] = world.sockets
  while (world.sockets.length < 2) await world.pass(1_000)
  world.socket.opens()
  world.socket.grants()
  first.moves('1', 1)
  first.ends(1006)
  await world.pass(20)
  assert.equal(world.live.status, 'connected')
  assert.deepEqual(world.news.position, [])
})

test('connect while it waits to reconnect does so now', (t) => {
  const world = new World(t).follow()
  world.socket.ends(1006)
  world.live.connect()
  assert.equal(world.sockets.length, 2)
  assert.equal(world.live.status, 'reconnecting')
})

test('nothing happens after close', async (t) => {
  const world = new World(t).follow()
  world.socket.ends(1006)
  world.live.close()
  await world.pass(120_000)
  assert.equal(world.sockets.length, 1)
  assert.deepEqual(world.statuses.slice(-2), ['reconnecting', 'closed'])
})

test('after close it begins anew, without the topics and failures of before', async (t) => {
  const world = new World(t).follow()
  for (let failure = 0; failure < 5; failure++) {
    world.socket.ends(1006)
    await world.untilNextSocket()
  }
  world.live.close()
  world.live.connect()
  assert.equal(world.live.status, 'connecting')
  world.socket.opens()
  assert.deepEqual(world.socket.commands, [])
  world.socket.ends(1006)
  assert.equal(await world.untilNextSocket(), 500)
})

test('who has signed in again and connects is shown what he followed before', async (t) => {
  const world = new World(t).follow()
  world.socket.ends(4401)
  world.socket.ends(4401)
  world.live.connect()
  assert.equal(world.live.status, 'connecting')
  world.socket.opens()
  assert.deepEqual(world.socket.commands, [`subscribe ${TOPIC}`])
  world.socket.ends(4401)
  assert.equal(world.live.status, 'reconnecting')
})

for (const when of ['connected', 'reconnecting']) {
  test(`a listener may close the client when it is ${when}`, async (t) => {
    const world = new World(t)
    world.live.onStatus((status) => { if (status === when) world.live.close() })
    world.live.connect()
    world.socket.opens()
    if (world.live.status === 'connected') world.socket.ends(1006)
    await world.pass(120_000)
    assert.equal(world.sockets.length, 1)
    assert.equal(world.live.status, 'closed')
  })
}
