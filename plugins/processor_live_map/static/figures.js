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

  /** Write what is known of the devices. */
  refresh() {
    const worstAge = this.#devices.worstAge()
    this.#cells.count.textContent = this.#devices.size
    this.#cells.worstAge.textContent = worstAge === undefined ? '–' : age(worstAge)
  }

  /** Write how many messages have come since the last time, in a second. */
  tick() {
    const now = performance.now()
    this.#cells.rate.textContent = Math.round(this.#messages * 1000 / (now - this.#since))
    this.#messages = 0
    this.#since = now
    this.refresh()
  }
}
