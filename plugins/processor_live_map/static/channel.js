// How does the page hear the live channel? Through a worker, where thousands of messages a second cost the map nothing.

const WAKE_UPS = ['visibilitychange', 'pageshow', 'online']

/** The client of live.js, as far as the page needs it. What `subscribe` is refused comes as a `refusal`, too. */
export class Channel {
  #worker = new Worker(new URL('listener.js', import.meta.url), { type: 'module' })

  /** @param told functions for `position`, `snapshot`, `refusal` and `status`, as live.d.ts has them */
  hear(told) {
    this.#worker.onmessage = ({ data: [event, ...news] }) => {
      told[event](...news)
      if (event === 'position') this.#say('taken')
    }
    for (const event of WAKE_UPS) addEventListener(event, () => document.visibilityState === 'visible' && this.#say('wake'))
  }

  /** @param directus the URL at which to ask whether there is a session */
  connect(directus) { this.#say('connect', directus) }

  subscribe(topic) { this.#say('subscribe', topic) }

  unsubscribe(topic) { this.#say('unsubscribe', topic) }

  #say(...command) { this.#worker.postMessage(command) }
}
