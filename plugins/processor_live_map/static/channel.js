// How does the page hear the live channel? Through a worker, where thousands of messages a second cost the map nothing.

const REST_MS = 50 // between two messages with positions, at least: for everything else that the page does
const SHARE = 1 / 5 // of the time may go into them, on a slow machine too
const HAPPENINGS = { visibilitychange: 'pageshow', pageshow: 'pageshow', online: 'online', offline: 'offline' } // a worker sees none

/** The client of live.js, as far as the page needs it. What `subscribe` is refused comes as a `refusal`, too. */
export class Channel {
  #worker = new Worker(new URL('listener.js', import.meta.url), { type: 'module' })
  #failed = new Promise((resolve) => { this.#worker.onerror = resolve })
  #told

  /** @param told functions for `position`, `snapshot`, `refusal` and `status`, as live.d.ts has them */
  hear(told) {
    this.#told = told
    this.#worker.onmessage = (message) => this.#take(message)
    this.#worker.addEventListener('message', () => { this.#worker.onerror = null }, { once: true }) // it has begun, and goes on
    for (const [seen, told] of Object.entries(HAPPENINGS)) {
      addEventListener(seen, () => document.visibilityState === 'visible' && this.#say('happens', told))
    }
  }

  #take(message) {
    const began = performance.now()
    const [event, ...news] = message.data // that is when it is read, which costs as much as the rest
    try {
      this.#told[event](...news)
    } finally {
      const rest = Math.max(REST_MS, (performance.now() - began) * (1 / SHARE - 1))
      if (event === 'position') setTimeout(() => this.#say('taken'), rest)
    }
  }

  /** @param directus the URL at which to ask whether there is a session */
  connect(directus) {
    this.#failed.then(() => this.#told.status('closed', { reason: 'refused' })) // as a server refuses a page that is out of date
    this.#say('connect', directus)
  }

  subscribe(topic) { this.#say('subscribe', topic) }

  unsubscribe(topic) { this.#say('unsubscribe', topic) }

  #say(...command) { this.#worker.postMessage(command) }
}
