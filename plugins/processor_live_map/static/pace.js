// When is something painted again? When somebody could see a difference, and the machine has had time for other things.

const SHARE = 1 / 6 // of the time may go into one painting after the other, on a slow machine too

export class Pace {
  #paint
  #timer = 0
  #due = Infinity
  #rest = 0 // not before this moment

  /** @param paint is called in an animation frame, and returns in how many milliseconds it has to be again at the latest */
  constructor(paint) {
    this.#paint = paint
  }

  /** Paint within so many milliseconds, if the machine can. A hidden page gets no frames. */
  within(ms) {
    const now = performance.now()
    const due = Math.max(now + ms, this.#rest)
    if (due >= this.#due) return
    this.#due = due
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => requestAnimationFrame(() => this.#frame()), due - now)
  }

  #frame() {
    const began = performance.now()
    const ms = this.#paint()
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => { // after the frame: a canvas only takes notes, what it costs comes later
      const now = performance.now()
      this.#rest = now + (now - began) * (1 / SHARE - 1)
      this.#due = Infinity
      this.within(ms)
    }
    port2.postMessage(null)
  }
}
