// Which event is watched, and what stands in the way?

const AGAIN_MS = 5_000
const RARELY_MS = 60_000 // at most, between two questions to a Directus that cannot answer

const REFUSALS = {
  'forbidden': ['This event is not open to you', 'Whoever runs it can let you in.'],
  'not-found': ['There is no such event', 'Perhaps the link is an old one.'],
  'unknown-topic': ['There is no such event', 'The link does not name one.'],
  'invalid-message': ['There is no such event', 'The link does not name one.'],
}

/** A watch tells `stage` what to show: `see(snapshot)`, `move(positions)`, `forget()`, `say(status, text)`. */
export class Watch {
  #directus
  #channel
  #picker
  #notice
  #stage
  #signIn
  #events = []
  #event = ''
  #isFollowed = false // or will be, when it can: it has been asked for and is not refused
  #question // the last one for the events
  #failures = 0 // of such questions, in a row
  #timer // for the next one

  constructor({ channel, directus, picker, notice, stage, signIn }) {
    this.#channel = channel
    this.#directus = directus
    this.#picker = picker
    this.#notice = notice
    this.#stage = stage
    this.#signIn = signIn
    channel.hear({
      position: (positions) => this.#moved(positions),
      snapshot: ({ topic, snapshot }) => topic === this.#topic && this.#seen(snapshot),
      refusal: (error) => error.topic === this.#topic && this.#refused(error),
      status: (status, { reason }) => this.#changed(status, reason),
    })
    picker.addEventListener('change', () => { location.hash = picker.value })
    addEventListener('hashchange', () => (picker.disabled || !this.#chosen ? this.#again() : this.#follow(this.#chosen)))
  }

  get #topic() {
    return `event:${this.#event}`
  }

  /** The id of the event that the address names (`/map#<uuid>`), or of the first; undefined without any. */
  get #chosen() {
    return location.hash.slice(1) || this.#events[0]?.id
  }

  /** Ask for the events and watch one. */
  begin() {
    this.#notice.hide()
    this.#stage.say('connecting', 'Connecting…')
    this.#picker.disabled = true // its events may not be those that come
    this.#failures = 0
    return this.#ask()
  }

  async #ask() {
    clearTimeout(this.#timer)
    const question = this.#question = Symbol('question')
    const answer = this.#directus.isSignedIn().then((isSignedIn) => isSignedIn && this.#directus.events())
    const events = await answer.catch(() => undefined)
    if (question !== this.#question) return // it has been asked anew meanwhile
    if (!events) return events === false ? this.#signedOut('Who are you?') : this.#unreachable()
    this.#events = events
    if (!this.#chosen) return this.#nothing()
    this.#picker.replaceChildren(...this.#events.map(({ id, name }) => new Option(name, id)))
    this.#picker.disabled = false
    this.#channel.connect(this.#directus.base)
    this.#follow(this.#chosen)
  }

  #follow(event) {
    if (event === this.#event) return
    this.#channel.unsubscribe(this.#topic)
    this.#event = event
    this.#isFollowed = true
    this.#notice.hide()
    this.#stage.forget()
    this.#stage.say('connecting', 'Connecting…')
    if (![...this.#picker.options].some(({ value }) => value === event)) {
      this.#picker.add(new Option(`Event ${event.slice(0, 8)}`, event))
    }
    this.#picker.value = event
    document.title = `${this.#picker.selectedOptions[0].text} – live`
    this.#channel.subscribe(this.#topic)
  }

  #moved(positions) {
    const followed = this.#topic
    this.#stage.move(positions.filter(({ topic }) => topic === followed))
  }

  #seen(snapshot) {
    this.#notice.hide()
    this.#stage.see(snapshot)
    this.#stage.say('connected', 'Live')
  }

  #refused({ code }) {
    if (code === 'closed' || code === 'session-ended') return // the status says why
    const refusal = REFUSALS[code]
    const event = this.#event
    if (refusal) {
      this.#isFollowed = false
      const other = this.#events.find(({ id }) => id !== event)
      this.#stage.forget()
      this.#stage.say('refused', refusal[0])
      return this.#notice.show(...refusal, {
        ...(other && { [`Watch ${other.name}`]: () => { location.hash = other.id } }),
        'Ask again': () => this.#again(),
        'Sign in as somebody else': this.#signIn,
      })
    }
    this.#stage.say('connecting', 'Asking again…')
    setTimeout(() => event === this.#event && this.#channel.subscribe(this.#topic), AGAIN_MS * (0.5 + Math.random()))
  }

  #changed(status, reason) {
    if (status === 'reconnecting' && this.#isFollowed) this.#stage.say(status, 'Connection lost. Reconnecting…')
    if (reason === 'signedOut') this.#signedOut('Your session has ended')
    if (reason === 'refused') this.#ended()
  }

  #signedOut(title) {
    this.#stop('Signed out', title, 'Sign in to see where the devices are.', {
      'Sign in': this.#signIn, 'I have signed in': () => this.#again(),
    })
  }

  #unreachable() {
    if (!this.#failures) { // it is read aloud each time
      this.#stop('Out of reach', 'The events cannot be listed', 'The server does not answer as it should. It is asked again by itself.', {
        'Try now': () => this.#again(),
      })
    }
    this.#timer = setTimeout(() => this.#ask(), Math.random() * Math.min(RARELY_MS, AGAIN_MS * 2 ** this.#failures++))
  }

  #nothing() {
    this.#stop('No event', 'There is no event for you', 'Nobody has opened one to you yet.', {
      'Try again': () => this.#again(), 'Sign in as somebody else': this.#signIn,
    })
  }

  #ended() {
    this.#stop('Ended', 'The server has ended the connection', 'This page seems to be out of date.', {
      'Load it anew': () => location.reload(),
    })
  }

  /** Show nothing and let no event be chosen, until the person has done something about it. */
  #stop(said, ...notice) {
    this.#picker.disabled = true
    this.#stage.forget()
    this.#stage.say('closed', said)
    this.#notice.show(...notice)
  }

  #again() {
    this.#channel.unsubscribe(this.#topic)
    this.#event = ''
    this.#isFollowed = false
    this.begin()
  }
}
