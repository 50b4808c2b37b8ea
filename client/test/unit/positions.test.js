// Which positions are shown, and when?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { at, OTHER, Page, TOPIC, World } from './world.js'

test('however many positions arrive, each frame shows the newest of each device that has moved', async (t) => {
  const page = new Page(t)
  const world = new World(t).follow()
  for (let ts = 1; ts <= 100; ts++) {
    world.socket.moves('1', ts)
    if (ts <= 50) world.socket.moves('2', ts)
  }
  assert.deepEqual(world.news.position, [])
  assert.equal(page.frames, 1)
  page.paint()
  assert.deepEqual(world.news.position, [['1 100', '2 50']])
  await world.pass(900)
  world.socket.moves('1', 101)
  await world.pass(900)
  assert.equal(world.news.position.length, 1)
  page.paint()
  assert.deepEqual(world.news.position[1], ['1 101'])
})

test('a position comes as the server sent it, with its topic', (t) => {
  const page = new Page(t)
  const world = new World(t).follow()
  let shown
  world.live.onPosition((positions) => { shown = positions })
  const sent = { ...at('1', 1), type: 'position', topic: TOPIC, speed: 87, course: 142, attributes: { 239: 1 } }
  world.socket.hears(sent)
  page.paint()
  assert.deepEqual(shown, [sent])
})

test('a frame without news is not asked for', (t) => {
  const page = new Page(t)
  const world = new World(t).follow([at('1', 10)])
  world.socket.moves('1', 10)
  world.socket.moves('1', 9)
  assert.equal(page.frames, 0)
})

test('a tab that gets no frames is told every second, and once', async (t) => {
  const page = new Page(t)
  const world = new World(t).follow()
  world.socket.moves('1', 1)
  page.visible = false
  await world.pass(999)
  world.socket.moves('1', 2)
  await world.pass(1)
  assert.deepEqual(world.news.position, [['1 2']])
  assert.equal(page.frames, 0)
})

test('without animation frames there is a timer', async (t) => {
  const world = new World(t).follow()
  world.socket.moves('1', 1)
  await world.pass(15)
  assert.deepEqual(world.news.position, [])
  await world.pass(1)
  assert.deepEqual(world.news.position, [['1 1']])
})

test('a device never moves backwards', async (t) => {
  const world = new World(t).follow([at('1', 10)])
  for (const ts of [9, 10, 12, 11, 12]) {
    world.socket.moves('1', ts)
    await world.pass(20)
  }
  assert.deepEqual(world.news.position, [['1 12']])
})

test('a device that takes part in two events moves in each of them', async (t) => {
  const world = new World(t).follow([], TOPIC, OTHER)
  world.socket.moves('1', 2, TOPIC)
  world.socket.moves('1', 1, OTHER)
  await world.pass(20)
  assert.deepEqual(world.news.position, [['1 2', '1 1']])
})

test('a snapshot replaces: what was about to be shown of its topic is not, and of others it is', async (t) => {
  const world = new World(t).follow([], TOPIC, OTHER)
  world.socket.moves('1', 20, TOPIC)
  world.socket.moves('2', 20, OTHER)
  world.live.subscribe(TOPIC)
  world.socket.grants([at('1', 10)])
  await world.pass(20)
  assert.deepEqual(world.news.position, [['2 20']])
  world.socket.moves('1', 11) // older than what the snapshot has overruled
  await world.pass(20)
  assert.deepEqual(world.news.position[1], ['1 11'])
})

test('what a reconnect brings is compared with its own snapshot', async (t) => {
  const world = new World(t).follow([at('1', 100)])
  world.socket.ends(1012)
  await world.untilNextSocket()
  world.socket.opens()
  world.socket.grants([at('1', 50)])
  world.socket.moves('1', 49)
  world.socket.moves('1', 51)
  await world.pass(20)
  assert.deepEqual(world.news.position, [['1 51']])
})

test('a topic that nobody has asked for is not shown', async (t) => {
  const world = new World(t).follow()
  world.socket.moves('1', 1, OTHER)
  await world.pass(20)
  assert.deepEqual(world.news.position, [])
})

test('what arrived before the connection was lost is shown', async (t) => {
  const world = new World(t).follow()
  world.socket.moves('1', 1)
  world.socket.ends(1006)
  await world.pass(20)
  assert.deepEqual(world.news.position, [['1 1']])
})

test('nothing is shown after close', async (t) => {
  const world = new World(t).follow()
  world.socket.moves('1', 1)
  world.live.close()
  await world.pass(20)
  assert.deepEqual(world.news.position, [])
})
