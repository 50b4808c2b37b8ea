// Do the hooks of the README keep right what they show, in React?
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { act, createElement, StrictMode, useEffect, useState, useSyncExternalStore } from 'react'
import { create } from 'react-test-renderer'

import { run } from '../unit/readme.js'
import { at, OTHER, TOPIC } from '../unit/world.js'

globalThis.IS_REACT_ACT_ENVIRONMENT = true
globalThis.IS_REACT_NATIVE_TEST_ENVIRONMENT = true // else the renderer says that it is deprecated, for those who have a DOM

/** An application with the README's hooks. */
class App {
  #page
  #parts

  static async open(t) {
    const app = new App()
    t.after(() => act(async () => app.#page.unmount())) // before the world closes its client
    const { world, running } = run(t, 'jsx', { isSignedIn: () => true, useEffect, useState, useSyncExternalStore })
    app.world = world
    app.#parts = partsOf(await running)
    await act(async () => { app.#page = create(null) })
    return app
  }

  /** Show the status and, by the names of the components, topics; leave those that are not named. */
  async show(topics) {
    const shown = Object.entries(topics).map(([key, topic]) => createElement(this.#parts.Devices, { key, topic }))
    const live = createElement(this.#parts.Live, null, createElement(this.#parts.Status), ...shown)
    await act(async () => this.#page.update(createElement(StrictMode, null, live)))
  }

  /** What is to be read: the status, then each component's devices and error. */
  get read() {
    return this.#page.toJSON()
  }

  /** Let something happen to the last socket. */
  async hears(what, ...args) {
    await act(async () => this.world.socket[what](...args))
  }

  async pass(ms) {
    await act(async () => this.world.pass(ms))
  }

  get subscribes() {
    return this.world.socket.commands.filter((command) => command === `subscribe ${TOPIC}`).length
  }
}

function partsOf({ Live, useDevices, useStatus }) {
  return {
    Live,
    Status: useStatus,
    Devices({ topic }) {
      const { devices, error } = useDevices(topic)
      return [...Object.values(devices).map(({ deviceId, ts }) => `${deviceId}@${ts}`), error?.code].join(' ').trim() || 'nothing'
    },
  }
}

test('the devices of a topic are shown, and where they have moved to', async (t) => {
  const app = await App.open(t)
  await app.show({ map: TOPIC })
  assert.deepEqual(app.read, ['connecting', 'nothing'])
  await app.hears('opens')
  await app.hears('grants', [at('1', 10), at('2', 10)])
  await app.hears('moves', '1', 11)
  await app.pass(20)
  assert.deepEqual(app.read, ['connected', '1@11 2@10'])
  assert.equal(app.subscribes, 1)
})

test('of another topic nothing is shown that belongs to the one before', async (t) => {
  const app = await App.open(t)
  await app.show({ list: OTHER, map: OTHER })
  await app.hears('opens')
  await app.hears('grants', [at('1', 10)], OTHER)
  await app.show({ list: OTHER, map: TOPIC })
  await app.hears('moves', '1', 11, OTHER)
  await app.pass(20)
  assert.deepEqual(app.read, ['connected', '1@11', 'nothing'])
})

for (const [leaving, staying] of [['map', 'list'], ['list', 'map']]) {
  test(`when one of two components leaves, the ${leaving}, the other goes on`, async (t) => {
    const app = await App.open(t)
    await app.show({ list: TOPIC, map: TOPIC })
    await app.hears('opens')
    await app.hears('grants', [at('1', 10)])
    assert.deepEqual(app.read, ['connected', '1@10', '1@10'])
    await app.show({ [staying]: TOPIC })
    await app.hears('moves', '1', 11)
    await app.pass(20)
    assert.deepEqual(app.read, ['connected', '1@11'])
    await app.show({})
    assert.equal(app.world.socket.commands.at(-1), `unsubscribe ${TOPIC}`)
  })
}

for (const code of ['error', 'timeout']) {
  test(`what ends with ${code} is said, asked again, and forgotten with the devices`, async (t) => {
    const app = await App.open(t)
    await app.show({ map: TOPIC })
    await app.hears('opens')
    if (code === 'timeout') await app.pass(5_000)
    else await app.hears('refuses', code)
    assert.deepEqual(app.read, ['connected', code])
    if (code === 'timeout') await app.pass(1_000)
    if (code === 'timeout') await app.hears('answers', 'unsubscribed')
    await app.pass(5_000)
    assert.equal(app.subscribes, 2)
    await app.hears('grants', [at('1', 10)])
    assert.deepEqual(app.read, ['connected', '1@10'])
  })
}

test('a refusal is final, and takes the devices away', async (t) => {
  const app = await App.open(t)
  await app.show({ map: TOPIC })
  await app.hears('opens')
  await app.hears('grants', [at('1', 10)])
  await app.hears('ends', 1012)
  await act(() => app.world.untilNextSocket())
  await app.hears('opens')
  await app.hears('refuses', 'forbidden')
  assert.deepEqual(app.read, ['connected', 'forbidden'])
  await app.pass(30_000)
  assert.equal(app.subscribes, 1)
})

test('who has left asks for nothing more', async (t) => {
  const app = await App.open(t)
  await app.show({ list: TOPIC, map: TOPIC })
  await app.hears('opens')
  await app.show({ map: TOPIC })
  await app.hears('refuses', 'error') // to both
  await app.show({})
  await app.pass(30_000)
  assert.equal(app.subscribes, 1)
})
