// What stands around a client in a unit test: a clock, the sockets it opens, and a page that sleeps and wakes.
import { mock } from 'node:test'

import { createLiveClient } from '../../live.js'

export const TOPIC = 'event:6f1c5c0e-0000-4000-8000-000000000001'
export const OTHER = 'event:6f1c5c0e-0000-4000-8000-000000000002'

/** A WebSocket whose other end is the test. */
class Socket {
  readyState = 0
  said = []

  constructor(url) {
    this.url = url
  }

  send(text) {
    if (this.readyState === 0) throw new Error('InvalidStateError')
    this.said.push(JSON.parse(text))
  }

  close(code) {
    this.readyState = 2
    this.closeCode = code
  }

  opens() {
    this.readyState = 1
    this.onopen()
  }

  ends(code) {
    this.readyState = 3
    this.onclose({ code })
  }

  hears(message) {
    this.onmessage({ data: JSON.stringify(message) })
  }

  /** Answer the last command about a topic. */
  answers(type, more = {}, topic = TOPIC) {
    const { id } = this.said.findLast((command) => command.topic === topic)
    this.hears({ type, topic, id, ...more })
  }

  grants(snapshot = [], topic = TOPIC) {
    this.answers('subscribed', { snapshot }, topic)
  }

  refuses(code, topic = TOPIC) {
    this.answers('error', { code, message: 'for a human' }, topic)
  }

  moves(deviceId, ts, topic = TOPIC) {
    this.hears({ type: 'position', topic, ...at(deviceId, ts) })
  }

  /** The commands about topics, as text; probes are not about any. */
  get commands() {
    return this.said.filter(({ topic }) => topic !== 'probe').map(({ type, topic }) => `${type} ${topic}`)
  }

  get probes() {
    return this.said.filter(({ topic }) => topic === 'probe').length
  }
}

export function at(deviceId, ts) {
  return { deviceId, lat: 41.5, lon: 19.5, ts }
}

export class World {
  sockets = []
  /** The statuses that were told, each with its detail. */
  told = []
  /** By event, what else was told. */
  news = { position: [], snapshot: [], refusal: [] }

  constructor(t, options = {}) {
    mock.timers.enable({ apis: ['setTimeout'] })
    this.random = 0.5
    mock.method(Math, 'random', () => this.random)
    const { sockets } = this
    this.live = createLiveClient({
      url: 'wss://rally.example/ws-live',
      WebSocket: function open(url) {
        sockets.push(new Socket(url))
        return sockets.at(-1)
      },
      ...options,
    })
    this.live.onStatus((status, detail) => this.told.push({ status, ...detail }))
    this.live.onPosition((positions) => this.news.position.push(positions.map(({ deviceId, ts }) => `${deviceId} ${ts}`)))
    this.live.onSnapshot(({ topic, snapshot }) => this.news.snapshot.push({ topic, snapshot }))
    this.live.onRefusal((error) => this.news.refusal.push(`${error.topic} ${error.code}`))
    t.after(() => {
      this.live.close()
      mock.timers.reset()
      mock.restoreAll()
    })
  }

  get socket() {
    return this.sockets.at(-1)
  }

  get statuses() {
    return this.told.map(({ status }) => status)
  }

  /** Connect, and follow the topics. */
  follow(snapshot = [], ...topics) {
    this.live.connect()
    this.socket.opens()
    for (const topic of topics.length ? topics : [TOPIC]) {
      this.live.subscribe(topic)
      this.socket.grants(snapshot, topic)
    }
    return this
  }

  /** Let time pass; millisecond by millisecond, because what a timer starts counts from when it rang. */
  async pass(ms) {
    for (let passed = 0; passed < ms; passed++) mock.timers.tick(1)
    await settled()
  }

  /** Return after how many milliseconds a new socket is opened, in steps of `step`. */
  async untilNextSocket(step = 10, limit = 60_000) {
    const before = this.sockets.length
    for (let ms = step; ms <= limit; ms += step) {
      await this.pass(step)
      if (this.sockets.length > before) return ms
    }
    throw new Error(`no socket within ${limit} ms`)
  }
}

/** Let everything that has been promised happen. */
export function settled() {
  return new Promise((resolve) => { setImmediate(resolve) })
}

/** The code that a promise is rejected with, or `waits`. */
export async function outcome(promise) {
  return Promise.race([promise.then(() => 'resolved', ({ code }) => code), settled().then(() => 'waits')])
}

/** Something that events happen to, with one listener for each. */
class Target {
  listeners = new Map()
  addEventListener = (event, listener) => this.listeners.set(event, listener)
  removeEventListener = (event, listener) => {
    if (this.listeners.get(event) === listener) this.listeners.delete(event)
  }
}

/** A page for the client to live in: `document`, events of the window, animation frames. */
export class Page {
  #asked = 0
  #frames = new Map()
  #document = new Target()
  #window = new Target()

  constructor(t) {
    const globals = {
      document: this.#document,
      addEventListener: this.#window.addEventListener,
      removeEventListener: this.#window.removeEventListener,
      requestAnimationFrame: (paint) => {
        this.#frames.set(++this.#asked, paint)
        return this.#asked
      },
      cancelAnimationFrame: (id) => this.#frames.delete(id),
    }
    Object.assign(globalThis, globals)
    this.visible = true
    t.after(() => { for (const name of Object.keys(globals)) delete globalThis[name] })
  }

  /** The events that somebody waits for. */
  get listening() {
    return [...this.#document.listeners.keys(), ...this.#window.listeners.keys()]
  }

  set visible(visible) {
    this.#document.visibilityState = visible ? 'visible' : 'hidden'
    this.#document.listeners.get('visibilitychange')?.()
  }

  happens(event) {
    this.#window.listeners.get(event)?.()
  }

  get frames() {
    return this.#frames.size
  }

  /** Paint one frame. */
  paint() {
    const painted = [...this.#frames.values()]
    this.#frames.clear()
    for (const paint of painted) paint()
  }
}
