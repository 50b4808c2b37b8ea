// How does it go, in three numbers? How many devices, how many messages a second, how old the oldest position is.

import { age } from './wording.js'

export class Figures {
  #devices
  #cells
  #messages = 0
  #since = performance.now()

  /** @param cells the elements `count`, `rate` and `worstAge` */
  constructor(devices, cells) {
    this.#devices = devices
    this.#cells = cells
  }

  /** So many messages have come. */
  add(messages) {
    this.#messages += messages
  }

  /** Write what has been since the last time. */
  refresh() {
    const now = performance.now()
    const worstAge = this.#devices.worstAge()
    this.#cells.count.textContent = this.#devices.size
    this.#cells.rate.textContent = Math.round(this.#messages * 1000 / (now - this.#since))
    this.#cells.worstAge.textContent = worstAge === undefined ? '–' : age(worstAge)
    this.#messages = 0
    this.#since = now
  }
}
