// What does the map show: all devices, one of them, or what the person has chosen?

import { latitudeAt, longitudeAt } from './mercator.js'
import { mayAnimate } from './theme.js'

const { latLngBounds } = globalThis.L

const CLOSE_ZOOM = 14 // a village
const PADDING_PX = 48

export class Camera {
  #map
  #devices
  #isFlying = false
  /** The id of the device that is followed, if any. */
  followed
  /** Called when that has changed. */
  onChange = () => {}

  constructor(map, devices) {
    this.#map = map
    this.#devices = devices
    map.on('dragstart', () => this.release())
    map.getContainer().addEventListener('keydown', ({ key }) => key.startsWith('Arrow') && this.release())
  }

  /** Show all devices; without any, these bounds, if there are such. */
  fit(otherwise) {
    this.release()
    const bounds = latLngBounds([...this.#devices].map(({ lat, lon }) => [lat, lon]))
    const shown = bounds.isValid() ? bounds : otherwise
    if (!shown?.isValid()) return
    this.#map.fitBounds(shown, { padding: [PADDING_PX, PADDING_PX], maxZoom: CLOSE_ZOOM, animate: mayAnimate() })
  }

  /** Keep a device in the middle, until the person moves the map. */
  follow(id) {
    this.followed = id
    this.onChange()
    const { shown } = this.#devices.get(id)
    const zoom = Math.max(this.#map.getZoom(), CLOSE_ZOOM)
    this.#isFlying = true
    this.#map.once('moveend', () => { this.#isFlying = false })
    this.#map.setView([latitudeAt(shown.y), longitudeAt(shown.x)], zoom, { animate: mayAnimate() })
  }

  release() {
    if (this.followed === undefined) return
    this.followed = undefined
    this.onChange()
  }

  /** Move the map on, if the device that is followed has moved; return whether it was, which paints everything. */
  keepUp() {
    if (this.followed === undefined || this.#isFlying) return false
    const { shown } = this.#devices.get(this.followed) ?? {}
    if (!shown) this.release()
    const offset = shown && this.#place(shown).subtract(this.#map.getSize().divideBy(2)).round()
    if (!offset?.x && !offset?.y) return false
    this.#map.panBy(offset, { animate: false })
    return true
  }

  #place({ x, y }) {
    return this.#map.latLngToContainerPoint([latitudeAt(y), longitudeAt(x)])
  }
}
