// What does a browser do at its end of the live channel? The steps are those of docs/contract.md §9; what each function
// means to its caller is said in live.d.ts.

/**
 * @import { LiveClient, LiveClientOptions, LiveErrorCode, LivePosition, PositionEntry } from './live.d.ts'
 * @import { Snapshot, Socket, Status, StatusDetail } from './live.d.ts'
 */

/**
 * @typedef {{ topic: string, id?: string }} Answer
 * @typedef {Answer & { type: 'subscribed', snapshot: PositionEntry[] }} Subscribed
 * @typedef {Answer & { type: 'unsubscribed' }} Unsubscribed
 * @typedef {Answer & { type: 'error', code: LiveErrorCode, message: string }} Failed
 * @typedef {LivePosition & { type: 'position' }} Moved
 */

/**
 * @typedef {object} Topic What is known of a topic that is wanted, or that the server may still be sending.
 * @property {string} name
 * @property {{ resolve: (answer: Snapshot) => void, reject: (error: LiveError) => void }[]} waiting for a snapshot
 * @property {Map<string, number> | null} newest `ts` by device while it is followed: from the first snapshot on
 * @property {Map<string, LivePosition>} fresh by device, for the next frame
 * @property {boolean} on whether the server may be sending it on this connection
 * @property {string} id of the last command, whose answer counts, however late
 * @property {number} failures of commands in a row
 */

const ANSWER_MS = 5_000
const HANDSHAKE_MS = 10_000 // longer than Directus may take: 4.8 s for a place, 3 for the call
const CHECK_MS = 7_000 // longer than a command before the probe may take, 4.8 s
const BEAT_MS = 10_000
const PROBED_BEATS = 2 // without a frame; then each asks for one
const DEAD_BEATS = 4
const BASE_MS = 1_000
const CAP_MS = 30_000
const STABLE_MS = 30_000
const FRAME_MS = 16
const HIDDEN_FRAME_MS = 1_000
const PROBE = 'probe' // the topic that is none

const CLOSED = 1000
const LOST = 1006
const RESTART = 1012
const SESSION_ENDED = 4401
const FAULTS = [1002, 1007, 1008, 1009] // the client's: it would only make them again
const PASSING = ['error', 'timeout', 'rate-limited']

export class LiveError extends Error {
  /** @param {LiveErrorCode} code @param {string} topic @param {string} [message] */
  constructor(code, topic, message = code) {
    super(message)
    this.name = 'LiveError'
    this.code = code
    this.topic = topic
  }
}

/** @param {LiveClientOptions} options @returns {LiveClient} */
export function createLiveClient({ url, isSignedIn, WebSocket = globalThis.WebSocket }) {
  const address = new URL(url, globalThis.location?.href)
  address.protocol = address.protocol.replace('http', 'ws')

  /** @type {Map<string, Topic>} */
  const topics = new Map()
  /**
   * What waits for its time, each once; all of it ends with the connection.
   * @type {Map<unknown, ReturnType<typeof setTimeout>>}
   */
  const alarms = new Map()
  const listeners = { position: new Set(), snapshot: new Set(), refusal: new Set(), status: new Set() }
  /** @type {Status} */
  let status = 'idle'
  /** @type {Socket | null} */
  let socket = null
  let failures = 0 // of connections, since one was stable
  let lastCode = 0 // that a connection ended with, since one was stable
  let doubted = false // whether the last handshake failed: nobody says why
  let disowned = false // whether it was the one retry after a 4401
  let commands = 0
  let frames = 0
  let framed = false // whether `show` is on its way

  /** @param {keyof typeof listeners} event @param {unknown[]} news */
  function tell(event, ...news) {
    for (const listener of [...listeners[event]]) {
      try {
        listener(...news)
      } catch (error) {
        queueMicrotask(() => { throw error }) // for window.onerror: the others go on
      }
    }
  }

  /** @param {keyof typeof listeners} event */
  const door = (event) => (/** @type {unknown} */ listener) => {
    listeners[event].add(listener)
    return () => { listeners[event].delete(listener) }
  }

  /** @param {unknown} name @param {number} ms @param {() => void} ring */
  function alarm(name, ms, ring) {
    disarm(name)
    alarms.set(name, setTimeout(() => { alarms.delete(name); ring() }, ms))
  }

  /** @param {unknown} name */
  function disarm(name) {
    clearTimeout(alarms.get(name))
    alarms.delete(name)
  }

  /** @param {Status} next @param {StatusDetail} [detail] */
  function become(next, detail = {}) {
    if (next === status) return
    status = next
    tell('status', next, detail)
  }

  // The connection

  function open() {
    leave()
    const mine = socket = new WebSocket(address.href)
    mine.onopen = () => { if (mine === socket) opened() }
    mine.onmessage = ({ data }) => { if (mine === socket) take(data) }
    mine.onclose = ({ code }) => { if (mine === socket) lost(code) }
    mine.onerror = () => {} // says nothing that the close does not
    alarm('handshake', HANDSHAKE_MS, () => lost(LOST))
  }

  function leave() {
    for (const name of [...alarms.keys()]) disarm(name)
    for (const topic of topics.values()) topic.on = false
    const left = socket
    socket = null
    left?.close(CLOSED)
  }

  function opened() {
    disarm('handshake')
    alarm('stable', STABLE_MS, () => { failures = lastCode = 0 })
    beat(0, frames)
    become('connected')
    topics.forEach(sync)
  }

  /** @param {number} code */
  function lost(code) {
    doubted = status !== 'connected'
    disowned = lastCode === SESSION_ENDED
    lastCode = code
    leave()
    if (FAULTS.includes(code)) return end('closed', { code, reason: 'refused' })
    if (code === SESSION_ENDED && disowned) return signedOut()
    if (code === SESSION_ENDED) open() // the browser may hold a newer cookie
    else alarm('retry', backOff(code === RESTART ? 0 : failures++), retry) // a goodbye is no failure
    become('reconnecting', { code })
  }

  async function retry() {
    if (doubted) { // a browser shows a 401 as 1006
      alarm('asking', ANSWER_MS, open)
      const asking = alarms.get('asking')
      const answer = await (async () => (isSignedIn ? isSignedIn() : !disowned))().catch(() => null)
      if (alarms.get('asking') !== asking) return
      if (answer === false) return signedOut()
    }
    open()
  }

  function signedOut() {
    end('session-ended', { code: lastCode, reason: 'signedOut' })
  }

  /** @param {LiveErrorCode} code @param {StatusDetail} [detail] */
  function end(code, detail) {
    leave()
    wakeUps('removeEventListener')
    for (const topic of topics.values()) settle(topic, 'reject', new LiveError(code, topic.name))
    become('closed', detail)
  }

  // Is it alive?

  /** Count the beats without a frame: a page that sleeps counts none. @param {number} silent @param {number} seen */
  function beat(silent, seen) {
    if (silent === DEAD_BEATS) return lost(LOST)
    if (silent >= PROBED_BEATS) probe()
    alarm('beat', BEAT_MS * (1 - Math.random() / 5), () => beat(frames === seen ? silent + 1 : 0, frames))
  }

  function probe() {
    say('unsubscribe', PROBE)
  }

  function check() {
    if (status !== 'connected' || alarms.has('check')) return
    const seen = frames
    probe()
    alarm('check', CHECK_MS, () => { if (frames === seen) lost(LOST) })
  }

  function wake() {
    if (globalThis.document?.visibilityState === 'hidden') return
    if (!alarms.has('retry')) return check()
    disarm('retry')
    retry()
  }

  /** @param {'addEventListener' | 'removeEventListener'} method */
  function wakeUps(method) {
    globalThis.document?.[method]('visibilitychange', wake)
    for (const event of ['pageshow', 'online']) globalThis[method]?.(event, wake)
    globalThis[method]?.('offline', check) // browsers err about that
  }

  // What is said and heard

  /** @param {'subscribe' | 'unsubscribe'} type @param {string} topic */
  function say(type, topic) {
    const id = String(++commands)
    socket?.send(JSON.stringify({ type, topic, id }))
    return id
  }

  /** Send what a topic needs next, one command at a time; forget it when that is nothing. @param {Topic} topic */
  function sync(topic) {
    if (alarms.has(topic)) return
    const { name, waiting, newest, on } = topic
    const type = waiting.length || (newest && !on) ? 'subscribe' : !newest && on ? 'unsubscribe' : null
    if (!type && !newest) topics.delete(name)
    if (!type || socket?.readyState !== 1) return
    topic.id = say(type, name)
    alarm(topic, ANSWER_MS, () => failed(topic, 'timeout', 'no answer'))
  }

  /** @param {string} data */
  function take(data) {
    frames++
    /** @type {Subscribed | Unsubscribed | Failed | Moved} */
    const message = JSON.parse(data)
    const topic = topics.get(message.topic)
    if (!topic) return
    if (message.type === 'position') move(topic, message)
    else if (topic.id === message.id) answered(topic, message)
  }

  /** @param {Topic} topic @param {Moved} position */
  function move({ newest, fresh }, position) {
    const { deviceId, ts } = position
    if (!newest || ts <= (newest.get(deviceId) ?? -1)) return
    newest.set(deviceId, ts)
    fresh.set(deviceId, position)
    if (!framed) nextFrame(show)
    framed = true
  }

  function show() {
    framed = false
    const positions = [...topics.values()].flatMap(({ fresh }) => [...fresh.values()])
    for (const { fresh } of topics.values()) fresh.clear()
    if (positions.length) tell('position', positions)
  }

  /** @param {Topic} topic @param {Subscribed | Unsubscribed | Failed} message */
  function answered(topic, message) {
    if (message.type === 'error') return failed(topic, message.code, message.message)
    disarm(topic)
    topic.failures = 0
    topic.on = message.type === 'subscribed'
    if (message.type === 'subscribed' && (topic.waiting.length || topic.newest)) {
      const { snapshot } = message
      topic.newest = new Map(snapshot.map(({ deviceId, ts }) => [deviceId, ts]))
      topic.fresh.clear()
      tell('snapshot', { topic: topic.name, snapshot })
      settle(topic, 'resolve', { snapshot })
    }
    sync(topic)
  }

  /** @param {Topic} topic @param {LiveErrorCode} code @param {string} message */
  function failed(topic, code, message) {
    if (code === 'session-ended') return // the close that follows decides
    disarm(topic)
    const error = new LiveError(code, topic.name, message)
    const followed = topic.newest
    if (code === 'timeout' && !followed) topic.on = true // it may still be granted
    if (code !== 'rate-limited') settle(topic, 'reject', error)
    if (PASSING.includes(code)) return alarm(topic, backOff(topic.failures++), () => sync(topic))
    drop(topic)
    sync(topic)
    if (followed) tell('refusal', error)
  }

  /** @param {Topic} topic */
  function drop(topic) {
    topic.newest = null
    topic.fresh.clear()
  }

  /** @param {Topic} topic @param {'resolve' | 'reject'} how @param {any} answer */
  function settle(topic, how, answer) {
    for (const asked of topic.waiting.splice(0)) asked[how](answer)
  }

  return {
    get status() { return status },

    connect() {
      if (socket) return
      if (status !== 'reconnecting') failures = lastCode = 0
      open()
      wakeUps('addEventListener')
      if (status !== 'reconnecting') become('connecting')
    },

    close() {
      topics.forEach(drop)
      end('closed')
    },

    subscribe(name) {
      return new Promise((resolve, reject) => {
        const topic = topics.get(name) ?? makeTopic(name)
        topics.set(name, topic)
        topic.waiting.push({ resolve, reject })
        sync(topic)
      })
    },

    unsubscribe(name) {
      const topic = topics.get(name)
      if (!topic) return
      drop(topic)
      settle(topic, 'reject', new LiveError('closed', name))
      sync(topic)
    },

    onPosition: door('position'),
    onSnapshot: door('snapshot'),
    onRefusal: door('refusal'),
    onStatus: door('status'),
  }
}

/** @param {string} name @returns {Topic} */
function makeTopic(name) {
  return { name, waiting: [], newest: null, fresh: new Map(), on: false, id: '', failures: 0 }
}

/** Full jitter: any time up to a bound that each failure doubles. @param {number} failures */
function backOff(failures) {
  return Math.random() * Math.min(CAP_MS, BASE_MS * 2 ** failures)
}

/** Show in the next animation frame; hidden tabs and Node have none, there it is a timer. @param {() => void} show */
function nextFrame(show) {
  const animated = 'requestAnimationFrame' in globalThis
  const timer = setTimeout(() => {
    if (animated) cancelAnimationFrame(frame)
    show()
  }, animated ? HIDDEN_FRAME_MS : FRAME_MS)
  const frame = animated ? requestAnimationFrame(() => {
    clearTimeout(timer)
    show()
  }) : 0
}
