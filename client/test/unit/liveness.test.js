// How does the client know that the other end is still there?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Page, World } from './world.js'

/** Let time pass beside a server that answers every probe. */
async function passQuietly(world, ms) {
  const { socket } = world
  for (let passed = 0; passed < ms; passed += 1_000) {
    const before = socket.probes
    await world.pass(1_000)
    if (socket.probes > before) socket.answers('unsubscribed', {}, 'probe')
  }
}

test('a connection on which nothing happens for ten minutes stays, at two or three probes a minute', async (t) => {
  const world = new World(t).follow()
  await passQuietly(world, 600_000)
  assert.equal(world.sockets.length, 1)
  assert.equal(world.live.status, 'connected')
  assert.ok(world.socket.probes >= 20 && world.socket.probes <= 30, `${world.socket.probes} probes`)
})

test('a probe is an unsubscribe from a topic that is none, which every server of v1 answers', async (t) => {
  const world = new World(t).follow()
  await world.pass(30_000)
  assert.deepEqual({ ...world.socket.said.at(-1), id: '' }, { type: 'unsubscribe', topic: 'probe', id: '' })
})

for (const [random, wait] of [[0, 30_000], [0.5, 27_000], [1, 24_000]]) {
  test(`a crowd that falls silent together does not probe together: ${random} of the jitter`, async (t) => {
    const world = new World(t)
    world.random = random
    world.follow()
    await world.pass(wait - 1)
    assert.equal(world.socket.probes, 0)
    await world.pass(1)
    assert.equal(world.socket.probes, 1)
  })
}

for (const [jitter, random] of [['the least', 0], ['the most', 0.999]]) {
  test(`a connection that has fallen silent is given up after 30 to 60 s, with ${jitter} jitter`, async (t) => {
    const world = new World(t).follow()
    world.random = random
    await passQuietly(world, 100_000)
    const { socket } = world
    socket.moves('1', 1)
    let silent = 0
    while (socket.closeCode === undefined) {
      await world.pass(100)
      silent += 100
    }
    assert.ok(silent > 30_000 && silent <= 60_000, `${silent} ms`)
    assert.deepEqual(world.told.at(-1), { status: 'reconnecting', code: 1006 })
  })
}

test('an answer that is as late as Directus may make it is in time', async (t) => {
  const world = new World(t).follow()
  world.random = 0.999
  for (let minute = 0; minute < 10; minute++) {
    const before = world.socket.probes
    while (world.socket.probes === before) await world.pass(100)
    await world.pass(4_900)
    world.socket.answers('unsubscribed', {}, 'probe')
  }
  assert.equal(world.sockets.length, 1)
})

test('one unanswered probe is not the end', async (t) => {
  const world = new World(t).follow()
  while (world.socket.probes < 2) await world.pass(100)
  world.socket.answers('unsubscribed', {}, 'probe')
  await world.pass(10_000)
  assert.equal(world.live.status, 'connected')
})

test('where positions arrive nothing is probed, whatever their topic', async (t) => {
  const world = new World(t).follow()
  for (let second = 0; second < 300; second++) {
    world.socket.moves('1', second, second % 2 ? undefined : 'event:unknown')
    await world.pass(1_000)
  }
  assert.equal(world.socket.probes, 0)
})

test('what is not understood is a sign of life, too', async (t) => {
  const world = new World(t).follow()
  for (let second = 0; second < 120; second++) {
    world.socket.hears({ type: 'news of a later version' })
    await world.pass(1_000)
  }
  assert.equal(world.socket.probes, 0)
})

test('a page whose timers come once a minute keeps its connection', async (t) => {
  const world = new World(t).follow()
  for (let minute = 0; minute < 60; minute++) {
    const before = world.socket.probes
    await world.pass(10_000) // one beat, though a minute has gone by
    if (world.socket.probes > before) world.socket.answers('unsubscribed', {}, 'probe')
  }
  assert.equal(world.sockets.length, 1)
})

const WAKE_UPS = [
  ['becomes visible', (page) => { page.visible = true }],
  ['is shown again', (page) => page.happens('pageshow')],
  ['is online again', (page) => page.happens('online')],
]

for (const [event, wakeUp] of [...WAKE_UPS, ['is said to be offline', (page) => page.happens('offline')]]) {
  test(`a page that ${event} asks first whether the connection is alive`, async (t) => {
    const page = new Page(t)
    const world = new World(t).follow()
    await world.pass(1_000)
    wakeUp(page)
    assert.equal(world.socket.probes, 1)
    world.socket.answers('unsubscribed', {}, 'probe')
    await world.pass(7_000)
    assert.equal(world.live.status, 'connected')
  })

  test(`a page that ${event} reconnects when there is no answer in 7 s`, async (t) => {
    const page = new Page(t)
    const world = new World(t).follow()
    await world.pass(1_000)
    wakeUp(page)
    await world.pass(6_999)
    assert.equal(world.live.status, 'connected')
    await world.pass(1)
    assert.deepEqual(world.told.at(-1), { status: 'reconnecting', code: 1006 })
  })
}

for (const [event, wakeUp] of WAKE_UPS) {
  test(`a page that ${event} does not wait for the end of its back-off`, async (t) => {
    const page = new Page(t)
    const world = new World(t).follow()
    world.socket.ends(1006)
    wakeUp(page)
    await world.pass(0)
    assert.equal(world.sockets.length, 2)
    await world.pass(500)
    assert.equal(world.sockets.length, 2)
  })
}

test('a wake-up that the browser reports three times is one probe', (t) => {
  const page = new Page(t)
  const world = new World(t).follow()
  page.visible = true
  page.happens('pageshow')
  page.happens('online')
  assert.equal(world.socket.probes, 1)
})

test('a page that falls asleep asks nothing', (t) => {
  const page = new Page(t)
  const world = new World(t).follow()
  page.visible = false
  page.happens('online')
  assert.equal(world.socket.probes, 0)
})

test('a page that wakes after a refused attempt asks whether the user is still signed in, once', async (t) => {
  const page = new Page(t)
  const isSignedIn = t.mock.fn(() => new Promise(() => {}))
  const world = new World(t, { isSignedIn })
  world.live.connect()
  world.socket.ends(1006)
  page.happens('online')
  page.happens('pageshow')
  assert.equal(isSignedIn.mock.callCount(), 1)
  await world.pass(5_000)
  assert.equal(world.sockets.length, 2)
})

test('a page that is said to be offline waits to the end of its back-off', async (t) => {
  const page = new Page(t)
  const world = new World(t).follow()
  world.socket.ends(1006)
  page.happens('offline')
  await world.pass(0)
  assert.equal(world.sockets.length, 1)
})

test('a page that wakes during a handshake lets it be', async (t) => {
  const page = new Page(t)
  const world = new World(t)
  world.live.connect()
  page.happens('pageshow')
  await world.pass(7_000)
  assert.equal(world.sockets.length, 1)
  assert.deepEqual(world.socket.said, [])
})

test('a closed client sleeps through everything', async (t) => {
  const page = new Page(t)
  const world = new World(t).follow()
  assert.deepEqual(page.listening, ['visibilitychange', 'pageshow', 'online', 'offline'])
  world.live.close()
  assert.deepEqual(page.listening, [])
  await world.pass(60_000)
  assert.equal(world.sockets.length, 1)
  assert.equal(world.socket.probes, 0)
})
