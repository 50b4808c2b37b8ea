// What runs in the worker of channel.js? The client of the live channel. It tells the page the newest of every device, and
// not again before the page has taken that: who is slow gets fewer positions and no older ones (docs/contract.md §5 G4).

import { Directus } from './directus.js'
import { createLiveClient } from './live.js'

const fresh = new Map() // the newest positions by device that the page has not been told
let isTaken = true // whether the page has dealt with those that it was told last
let client

const tell = (...news) => postMessage(news)

function tellPositions() {
  if (!isTaken || !fresh.size) return
  isTaken = false
  tell('position', [...fresh.values()])
  fresh.clear()
}

const refused = ({ code, topic }) => tell('refusal', { code, topic })

const commands = {
  connect(base) {
    client ??= open(new Directus(base))
    client.connect()
  },
  subscribe: (topic) => client.subscribe(topic).catch(refused),
  unsubscribe: (topic) => client?.unsubscribe(topic),
  taken() {
    isTaken = true
    tellPositions()
  },
  happens: (event) => dispatchEvent(new Event(event)), // to the page: live.js is to know
}

function open(directus) {
  const opened = createLiveClient({ url: new URL('../ws-live', import.meta.url).href, isSignedIn: () => directus.isSignedIn() })
  opened.onPosition((positions) => {
    for (const position of positions) fresh.set(position.deviceId, position)
    tellPositions()
  })
  opened.onSnapshot((snapshot) => {
    fresh.clear()
    tell('snapshot', snapshot)
  })
  opened.onRefusal(refused)
  opened.onStatus((status, detail) => tell('status', status, detail))
  return opened
}

onmessage = ({ data: [command, ...args] }) => commands[command](...args)
