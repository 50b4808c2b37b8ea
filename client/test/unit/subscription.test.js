// What does the client ask for, and what does it make of the answers?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { LiveError } from '../../live.js'
import { at, OTHER, outcome, settled, TOPIC, World } from './world.js'

test('a subscribe is answered with its snapshot', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = world.live.subscribe(TOPIC)
  world.socket.grants([at('1', 10)])
  assert.deepEqual(await asked, { snapshot: [at('1', 10)] })
  assert.deepEqual(world.news.snapshot, [{ topic: OTHER, snapshot: [] }, { topic: TOPIC, snapshot: [at('1', 10)] }])
})

test('commands are those of the contract, each with an id of its own', (t) => {
  const world = new World(t).follow([], TOPIC, OTHER)
  const ids = world.socket.said.map(({ id }) => id)
  assert.equal(new Set(ids).size, 2)
  assert.deepEqual(world.socket.said, [
    { type: 'subscribe', topic: TOPIC, id: ids[0] },
    { type: 'subscribe', topic: OTHER, id: ids[1] },
  ])
})

test('without a connection a subscribe waits for one, however long that takes', async (t) => {
  const world = new World(t)
  const asked = world.live.subscribe(TOPIC)
  await world.pass(60_000)
  world.live.connect()
  const other = world.live.subscribe(OTHER)
  await world.pass(9_000)
  world.socket.ends(1006)
  await world.untilNextSocket()
  world.socket.opens()
  world.socket.grants([], TOPIC)
  world.socket.grants([], OTHER)
  assert.equal(await outcome(asked), 'resolved')
  assert.equal(await outcome(other), 'resolved')
})

test('a connection that is lost before the answer asks again on the next one', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = world.live.subscribe(TOPIC)
  await world.pass(4_900)
  world.socket.ends(1012)
  await world.untilNextSocket()
  await world.pass(4_900) // the 5 s of the first question are over
  world.socket.opens()
  assert.deepEqual(world.socket.commands, [`subscribe ${OTHER}`, `subscribe ${TOPIC}`])
  world.socket.grants()
  assert.equal(await outcome(asked), 'resolved')
})

for (const code of ['forbidden', 'not-found', 'unknown-topic', 'too-many-subscriptions', 'invalid-message', 'error']) {
  test(`a subscribe that is refused with ${code} is rejected with it, and the topic is not followed`, async (t) => {
    const world = new World(t).follow([], OTHER)
    const asked = world.live.subscribe(TOPIC)
    world.socket.refuses(code)
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof LiveError)
      assert.deepEqual([error.name, error.code, error.topic, error.message], ['LiveError', code, TOPIC, 'for a human'])
      return true
    })
    await world.pass(10_000)
    assert.equal(world.socket.commands.length, 2)
    world.socket.ends(1006)
    await world.untilNextSocket()
    world.socket.opens()
    assert.deepEqual(world.socket.commands, [`subscribe ${OTHER}`])
    assert.deepEqual(world.news.refusal, [])
  })
}

test('a subscribe without an answer in 5 s is rejected, and taken back because it may still be granted', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = world.live.subscribe(TOPIC)
  await world.pass(4_999)
  assert.equal(await outcome(asked), 'waits')
  await world.pass(1)
  assert.equal(await outcome(asked), 'timeout')
  await world.pass(500)
  world.socket.moves('1', 11)
  assert.equal(world.socket.commands.at(-1), `unsubscribe ${TOPIC}`)
  world.socket.answers('unsubscribed')
  await world.pass(20_000)
  assert.equal(world.socket.commands.length, 3)
  assert.deepEqual(world.news.snapshot.map(({ topic }) => topic), [OTHER])
  assert.deepEqual(world.news.position, [])
})

test('a grant that comes too late is given back', async (t) => {
  const world = new World(t).follow([], OTHER)
  const ended = world.live.subscribe(TOPIC).catch((error) => error.code)
  await world.pass(5_000)
  assert.equal(await ended, 'timeout')
  world.socket.grants([at('1', 10)])
  assert.equal(world.socket.commands.at(-1), `unsubscribe ${TOPIC}`)
  assert.equal(world.news.snapshot.length, 1)
})

test('what the server calls too fast is said again, more slowly', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = world.live.subscribe(TOPIC)
  for (const wait of [500, 1_000, 2_000]) {
    world.socket.refuses('rate-limited')
    const before = world.socket.commands.length
    await world.pass(wait - 1)
    assert.equal(world.socket.commands.length, before)
    await world.pass(1)
    assert.equal(world.socket.commands.at(-1), `subscribe ${TOPIC}`)
  }
  assert.equal(await outcome(asked), 'waits')
  world.socket.grants()
  assert.equal(await outcome(asked), 'resolved')
  world.live.unsubscribe(TOPIC)
  world.socket.refuses('rate-limited')
  await world.pass(500)
  assert.deepEqual(world.socket.commands.slice(-2), [`unsubscribe ${TOPIC}`, `unsubscribe ${TOPIC}`])
})

test('who has waited a moment after a failure is asked for at once, however often that has been', async (t) => {
  const world = new World(t).follow([], OTHER)
  for (let failure = 1; failure < 5; failure++) {
    const asked = world.live.subscribe(TOPIC)
    assert.equal(world.socket.commands.length, 1 + failure)
    world.socket.refuses('error')
    assert.equal(await outcome(asked), 'error')
    await world.pass(1_000)
  }
})

test('who asks again right after a failure waits as a reconnect does, each time longer', async (t) => {
  const world = new World(t).follow([], OTHER)
  let asked = world.live.subscribe(TOPIC)
  for (const wait of [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    world.socket.refuses('error')
    assert.equal(await outcome(asked), 'error')
    asked = world.live.subscribe(TOPIC)
    const before = world.socket.commands.length
    await world.pass(wait - 1)
    assert.equal(world.socket.commands.length, before)
    await world.pass(1)
    assert.equal(world.socket.commands.at(-1), `subscribe ${TOPIC}`)
    assert.equal(world.socket.commands.length, before + 1)
  }
  world.socket.grants()
  assert.equal(await outcome(asked), 'resolved')
})

test('two subscribes at the same time are one question', async (t) => {
  const world = new World(t).follow([], OTHER)
  const [one, two] = [world.live.subscribe(TOPIC), world.live.subscribe(TOPIC)]
  assert.equal(world.socket.commands.length, 2)
  world.socket.grants([at('1', 10)])
  assert.deepEqual(await one, await two)
})

test('a topic that is followed already is asked for anew, and its snapshot replaces the first', async (t) => {
  const world = new World(t).follow([at('1', 10), at('2', 10)])
  const asked = world.live.subscribe(TOPIC)
  assert.deepEqual(world.socket.commands, [`subscribe ${TOPIC}`, `subscribe ${TOPIC}`])
  world.socket.moves('1', 11)
  world.socket.grants([at('1', 5)])
  assert.deepEqual(await asked, { snapshot: [at('1', 5)] })
  await world.pass(20)
  assert.deepEqual(world.news.position, []) // older than the snapshot that has been told
})

for (const code of ['error', 'timeout']) {
  test(`when a followed topic is asked for anew, ${code} leaves it followed as it was`, async (t) => {
    const world = new World(t).follow([at('1', 10)])
    const ended = world.live.subscribe(TOPIC).catch((error) => error.code)
    if (code === 'timeout') await world.pass(5_000)
    else world.socket.refuses(code)
    assert.equal(await ended, code)
    world.socket.moves('1', 11)
    await world.pass(30_000)
    assert.deepEqual(world.news.position, [['1 11']])
    assert.equal(world.socket.commands.length, 2)
    assert.deepEqual(world.news.refusal, [])
  })
}

test('a refusal ends what was followed, and all who followed it hear of it', async (t) => {
  const world = new World(t).follow([at('1', 10)])
  const asked = world.live.subscribe(TOPIC)
  world.socket.refuses('forbidden')
  assert.equal(await outcome(asked), 'forbidden')
  assert.deepEqual(world.news.refusal, [`${TOPIC} forbidden`])
  assert.equal(world.socket.commands.at(-1), `unsubscribe ${TOPIC}`) // for all that we know it may still be sent
  world.socket.moves('1', 11)
  await world.pass(20)
  assert.deepEqual(world.news.position, [])
})

test('after a reconnect it subscribes again to everything and reports each snapshot', async (t) => {
  const world = new World(t).follow([at('1', 10)], TOPIC, OTHER)
  world.socket.ends(1012)
  await world.untilNextSocket()
  world.socket.opens()
  assert.deepEqual(world.socket.commands, [`subscribe ${TOPIC}`, `subscribe ${OTHER}`])
  world.socket.grants([at('1', 20)])
  world.socket.grants([], OTHER)
  assert.deepEqual(world.news.snapshot.slice(2), [
    { topic: TOPIC, snapshot: [at('1', 20)] },
    { topic: OTHER, snapshot: [] },
  ])
})

for (const code of ['error', 'rate-limited', 'timeout']) {
  test(`a resubscribe that meets ${code} is repeated with back-off until it is decided`, async (t) => {
    const world = new World(t).follow()
    world.socket.ends(1012)
    await world.untilNextSocket()
    world.socket.opens()
    for (const wait of [500, 1_000, 2_000, 4_000]) {
      if (code === 'timeout') await world.pass(5_000)
      else world.socket.refuses(code)
      const before = world.socket.commands.length
      await world.pass(wait - 1)
      assert.equal(world.socket.commands.length, before)
      await world.pass(1)
      assert.equal(world.socket.commands.length, before + 1)
    }
    world.socket.grants([at('1', 20)])
    assert.deepEqual(world.news.snapshot.at(-1), { topic: TOPIC, snapshot: [at('1', 20)] })
  })
}

test('a snapshot that is late after a reconnect is better than another question', async (t) => {
  const world = new World(t).follow()
  world.socket.ends(1012)
  await world.untilNextSocket()
  world.socket.opens()
  await world.pass(5_100)
  world.socket.grants([at('1', 20)])
  world.socket.moves('1', 21)
  await world.pass(10_000)
  assert.deepEqual(world.news.snapshot.at(-1), { topic: TOPIC, snapshot: [at('1', 20)] })
  assert.deepEqual(world.news.position, [['1 21']])
  assert.equal(world.socket.commands.length, 1)
})

test('a topic that is refused after a reconnect is reported and not asked for again', async (t) => {
  const world = new World(t).follow([], TOPIC, OTHER)
  for (let reconnect = 0; reconnect < 2; reconnect++) {
    world.socket.ends(1012)
    await world.untilNextSocket()
    world.socket.opens()
    if (!reconnect) world.socket.refuses('forbidden')
    world.socket.grants([], OTHER)
  }
  assert.deepEqual(world.news.refusal, [`${TOPIC} forbidden`])
  assert.deepEqual(world.socket.commands, [`subscribe ${OTHER}`])
})

test('a session that has ended is for the close that follows to judge', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = world.live.subscribe(TOPIC)
  world.socket.refuses('session-ended')
  world.socket.ends(4401)
  assert.equal(await outcome(asked), 'waits')
  world.socket.opens()
  world.socket.grants()
  assert.equal(await outcome(asked), 'resolved')
})

test('who turns out to be signed out is told so by every subscribe that waits', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = world.live.subscribe(TOPIC)
  world.socket.ends(4401)
  world.socket.ends(4401)
  assert.equal(await outcome(asked), 'session-ended')
  world.live.connect()
  world.socket.opens()
  assert.deepEqual(world.socket.commands, [`subscribe ${OTHER}`])
})

test('nothing of a topic is reported from unsubscribe on', async (t) => {
  const world = new World(t).follow([at('1', 10)])
  world.socket.moves('1', 11)
  world.live.unsubscribe(TOPIC)
  world.socket.moves('1', 12)
  assert.equal(world.socket.commands.at(-1), `unsubscribe ${TOPIC}`)
  world.socket.answers('unsubscribed')
  await world.pass(20)
  assert.deepEqual(world.news.position, [])
  world.socket.ends(1006)
  await world.untilNextSocket()
  world.socket.opens()
  assert.deepEqual(world.socket.commands, [])
})

test('an unsubscribe that nobody answers is said again', async (t) => {
  const world = new World(t).follow()
  world.live.unsubscribe(TOPIC)
  await world.pass(5_500)
  assert.deepEqual(world.socket.commands.slice(1), [`unsubscribe ${TOPIC}`, `unsubscribe ${TOPIC}`])
})

test('unsubscribing ends the subscribe that waits, and what is granted all the same is given back', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = world.live.subscribe(TOPIC)
  world.live.unsubscribe(TOPIC)
  assert.equal(await outcome(asked), 'closed')
  assert.equal(world.socket.commands.length, 2) // one command about a topic at a time
  world.socket.grants([at('1', 10)])
  assert.equal(world.socket.commands.at(-1), `unsubscribe ${TOPIC}`)
  assert.equal(world.news.snapshot.length, 1)
})

test('a component that is mounted twice, as React does to find its faults, costs one subscribe', async (t) => {
  const world = new World(t).follow([], OTHER)
  const first = world.live.subscribe(TOPIC)
  world.live.unsubscribe(TOPIC)
  const second = world.live.subscribe(TOPIC)
  world.socket.grants([at('1', 10)])
  assert.equal(await outcome(first), 'closed')
  assert.equal(await outcome(second), 'resolved')
  assert.deepEqual(world.socket.commands, [`subscribe ${OTHER}`, `subscribe ${TOPIC}`])
})

test('who subscribes again while an unsubscribe is on its way gets a new subscription, and no position before it', async (t) => {
  const world = new World(t).follow([at('1', 10)])
  world.live.unsubscribe(TOPIC)
  const asked = world.live.subscribe(TOPIC)
  world.socket.moves('1', 11)
  world.socket.answers('unsubscribed')
  assert.equal(world.socket.commands.at(-1), `subscribe ${TOPIC}`)
  world.socket.grants([at('1', 11)])
  assert.equal(await outcome(asked), 'resolved')
  await world.pass(20)
  assert.deepEqual(world.news.position, [])
})

test('unsubscribing from a topic that nobody follows says nothing', async (t) => {
  const world = new World(t).follow([], OTHER)
  world.live.unsubscribe(TOPIC)
  assert.equal(world.socket.commands.length, 1)
})

test('without a connection an unsubscribe takes back what waits for one', async (t) => {
  const world = new World(t)
  const asked = world.live.subscribe(TOPIC)
  world.live.unsubscribe(TOPIC)
  assert.equal(await outcome(asked), 'closed')
  world.live.connect()
  world.socket.opens()
  assert.deepEqual(world.socket.said, [])
})

test('close ends every subscribe that waits', async (t) => {
  const world = new World(t).follow([], OTHER)
  const asked = [world.live.subscribe(TOPIC), world.live.subscribe(OTHER)]
  world.live.close()
  assert.deepEqual(await Promise.all(asked.map(outcome)), ['closed', 'closed'])
})

test('an answer to a question that is no longer asked is nobody’s', async (t) => {
  const world = new World(t).follow([at('1', 10)])
  for (const answer of [{ id: '999' }, {}]) {
    world.socket.hears({ type: 'error', code: 'forbidden', topic: TOPIC, ...answer })
    world.socket.hears({ type: 'unsubscribed', topic: TOPIC, ...answer })
    world.socket.hears({ type: 'subscribed', topic: TOPIC, snapshot: [], ...answer })
  }
  world.socket.moves('1', 11)
  await world.pass(20)
  assert.deepEqual(world.news.position, [['1 11']])
  assert.equal(world.news.snapshot.length, 1)
})

test('a listener that fails does not keep the news from the others, and its failure is not swallowed', async (t) => {
  const world = new World(t).follow()
  const failures = []
  const [shown] = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.once('uncaughtException', (error) => failures.push(error.message))
  world.live.onSnapshot(() => { throw new Error('a listener’s own') })
  const heard = []
  world.live.onSnapshot(({ topic }) => heard.push(topic))
  world.live.subscribe(TOPIC)
  world.socket.grants()
  await settled()
  process.on('uncaughtException', shown)
  assert.deepEqual(heard, [TOPIC])
  assert.deepEqual(failures, ['a listener’s own'])
})

test('a listener hears nothing more once it has been taken off', (t) => {
  const world = new World(t).follow()
  const heard = []
  const off = world.live.onSnapshot(({ topic }) => heard.push(topic))
  off()
  off()
  world.live.subscribe(TOPIC)
  world.socket.grants()
  assert.deepEqual(heard, [])
})
