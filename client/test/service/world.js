// What does a test against the real service have in its hands? The addresses come from the environment; whoever starts
// these tests (tests/integration/clients/stage.py) has the other end of the stage door.
import assert from 'node:assert/strict'

import WS from 'ws'

import { createLiveClient } from '../../live.js'

const { LIVE_URL, STAGE_URL, DIRECTUS_URL } = process.env

/** Have something done to the service or to what stands around it. */
export async function stage(action, given = {}) {
  const answer = await fetch(`${STAGE_URL}/${action}`, { method: 'POST', body: JSON.stringify(given) })
  assert.equal(answer.status, 200, action)
  return answer.json()
}

/** A browser's jar with the cookie of somebody who has just signed in. */
export async function signIn() {
  return { cookie: await stage('sign_in') }
}

/** A client as a page would make it, and everything that it has been told. */
export function visit(t, jar) {
  t.mock.method(Math, 'random', () => 0.1) // no wait is longer than a tenth of what it may be
  const told = { socket: null, statuses: [], snapshots: [], positions: [] }
  const live = createLiveClient({
    url: LIVE_URL,
    WebSocket: class extends WS {
      constructor(url) {
        super(url, { headers: jar.cookie ? { Cookie: jar.cookie } : {} })
        told.socket = this
      }
    },
    isSignedIn: async () => (await fetch(`${DIRECTUS_URL}/users/me`, { headers: { Cookie: jar.cookie } })).ok,
  })
  live.onStatus((status, { code, reason }) => told.statuses.push([status, reason ?? code].filter(Boolean).join(' ')))
  live.onSnapshot((news) => told.snapshots.push(news))
  live.onPosition((positions) => told.positions.push(...positions))
  t.after(async () => {
    live.close()
    const { socket } = told
    if (socket.readyState !== WS.CLOSED) await new Promise((resolve) => { socket.once('close', resolve) })
  })
  live.connect()
  return { live, told }
}

/** Wait for the next news for which `matches` holds. */
export function next(listen, matches = () => true) {
  return new Promise((resolve) => {
    const off = listen((...news) => {
      if (matches(...news)) {
        off()
        resolve(news[0])
      }
    })
  })
}

/** Wait until the client has a status. */
export async function until(live, status) {
  if (live.status !== status) await next(live.onStatus, (now) => now === status)
}

/** Let a device move, and wait until the client shows it. */
export async function move(live, imei, ts = Date.now()) {
  const shown = next(live.onPosition, (positions) => positions.some((p) => p.deviceId === imei && p.ts === ts))
  await stage('report', { imei, ts })
  return shown
}
