// Is what the map shows live? If it is not, why?

import { FADED_MS } from './devices.js'
import { age } from './wording.js'

export class Status {
  #element
  #devices
  #said = []

  constructor(element, devices) {
    this.#element = element
    this.#devices = devices
  }

  /** How it stands with the connection, as one word of the page's and as a text. */
  say(status, text) {
    this.#said = [status, text]
    this.refresh()
  }

  /** Write that down; a connection on which nothing comes is not live, whatever was said of it. */
  refresh() {
    const [status, text] = this.#said
    const quiet = status === 'connected' && this.#quiet()
    this.#element.dataset.status = quiet ? 'quiet' : status
    const written = quiet || text
    if (this.#element.textContent !== written) this.#element.textContent = written // it is read aloud each time
  }

  #quiet() {
    const ageMs = this.#devices.freshestAge()
    if (ageMs === undefined) return 'No positions yet'
    return ageMs >= FADED_MS && `No new positions for ${age(ageMs)}`
  }
}
