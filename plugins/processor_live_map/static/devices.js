// Where is every device of the event, where is it shown, and how old is what is known?

import { now } from './clock.js'
import { eastOf, southOf } from './mercator.js'
import { HUES } from './theme.js'
import { Trail } from './trails.js'

export const FADED_MS = 60_000
export const LOST_MS = 300_000
const GLIDE_MS = 1_000 // the longest way to a new position; trackers that report more often are shown more often

class Device {
  trail = new Trail()
  /** Where it is shown on the square of mercator.js, and on the canvas. */
  shown = { x: 0, y: 0 }
  pixel = { x: 0, y: 0 }
  #from = { x: 0, y: 0 }
  #to = { x: 0, y: 0 }
  #since = 0
  #glideMs = 0

  constructor(id) {
    this.id = id
    this.hue = [...id].reduce((sum, digit) => (sum * 31 + digit.charCodeAt(0)) % 65_521, 0) % HUES
  }

  take({ lat, lon, ts, speed, course }, isGliding) {
    this.#glideMs = isGliding ? Math.min(ts - this.ts, GLIDE_MS) : 0
    this.#since = performance.now()
    this.#from.x = this.shown.x
    this.#from.y = this.shown.y
    this.#to.x = eastOf(lon)
    this.#to.y = southOf(lat)
    this.trail.add(this.#to.x, this.#to.y, ts)
    this.lat = lat
    this.lon = lon
    this.ts = ts
    this.speed = speed
    // a course of 0 is not sent (docs/contract.md §3): what moves has one nevertheless
    this.course = course ?? (speed === undefined ? undefined : this.trail.course())
    this.glide(this.#since)
  }

  /** Show it where it is at `time`; return how fast it goes from there, per millisecond, on the square. */
  glide(time) {
    const left = this.#since + this.#glideMs - time
    const share = left > 0 ? 1 - left / this.#glideMs : 1
    const [east, south] = [this.#to.x - this.#from.x, this.#to.y - this.#from.y]
    this.shown.x = this.#from.x + share * east
    this.shown.y = this.#from.y + share * south
    return left > 0 ? Math.hypot(east, south) / this.#glideMs : 0
  }

  age() {
    return Math.max(0, now() - this.ts)
  }
}

export class Devices {
  #byId = new Map()
  #isGliding

  /** @param isGliding whether devices may move between two positions, which some people do not stand */
  constructor(isGliding) {
    this.#isGliding = isGliding
  }

  get size() { return this.#byId.size }

  [Symbol.iterator]() { return this.#byId.values() }

  get(id) { return this.#byId.get(id) }

  /** Forget all. */
  clear() { this.#byId.clear() }

  /** Know these devices and no others; who stays keeps the trail. */
  reset(snapshot) {
    const before = this.#byId
    this.#byId = new Map()
    for (const entry of snapshot) {
      const known = before.get(entry.deviceId)
      if (known) this.#byId.set(known.id, known)
      this.take(entry)
    }
  }

  take(entry) {
    const known = this.#byId.get(entry.deviceId)
    const device = known ?? new Device(entry.deviceId)
    this.#byId.set(device.id, device)
    if (known?.ts !== entry.ts) device.take(entry, known && this.#isGliding())
  }

  /** The age of the newest of all positions, in milliseconds; undefined without devices. */
  freshestAge() { return this.#choose(Math.min) }

  /** The age of the oldest of all latest positions, in milliseconds; undefined without devices. */
  worstAge() { return this.#choose(Math.max) }

  #choose(better) {
    let chosen
    for (const device of this) chosen = better(chosen ?? device.age(), device.age())
    return chosen
  }
}
