// What is painted of the devices, and which of them is under the finger?

import { CanvasLayer } from './canvas.js'
import { paintLabels } from './labels.js'
import { Markers, paintRing } from './markers.js'
import { Pace } from './pace.js'
import { paintTrails } from './trails.js'

// How far a device may go until it is painted anew, and between which times that is
const MARKER = { step: 0.5, least: 16, most: 250, idle: 1_000 } // pixels, milliseconds; when nothing moves, ages do
const TRAIL = { step: 3, least: 100, most: 1_000, idle: 1_000 } // its end is under the marker
const REACH_PX = 22 // a finger is no needle
const EDGE_PX = 20

export class Scene {
  #devices
  #camera
  #reserved
  #theme
  #trailLayer
  #markerLayer
  #trails = new Pace(() => this.#paintTrails())
  #frames = new Pace(() => this.#paintMarkers())
  #markers = new Markers()
  #visible = []
  #speed = 0 // of the fastest device, on the square of mercator.js, per millisecond
  /** What devices are called. */
  names = new Map()

  /** @param reserved rectangles of the view where something is written already */
  constructor(map, devices, camera, reserved, theme, pane) {
    this.#devices = devices
    this.#camera = camera
    this.#reserved = reserved
    this.#theme = theme
    this.#trailLayer = new CanvasLayer((context, view) => paintTrails(context, view, devices, theme()), { pane })
    this.#markerLayer = new CanvasLayer((context, view) => this.#paint(context, view), { pane })
    this.#trailLayer.addTo(map)
    this.#markerLayer.addTo(map)
    this.repaint()
  }

  /** Something has changed: paint soon. */
  repaint() {
    this.#frames.within(0)
    this.#trails.within(0)
  }

  /** Devices have new places: those who glide there are painted all the time, the others need not wait for long. */
  move() {
    this.#frames.within(MARKER.most)
    this.#trails.within(TRAIL.most)
  }

  /** The device that a click at this point of the map means, if any. */
  at(point) {
    const { inset } = this.#markerLayer.view
    let [nearest, distance] = [undefined, REACH_PX]
    for (const device of this.#visible) {
      const away = Math.hypot(device.pixel.x - inset.x - point.x, device.pixel.y - inset.y - point.y)
      if (away < distance) [nearest, distance] = [device, away]
    }
    return nearest
  }

  #paintMarkers() {
    const time = performance.now()
    this.#speed = 0
    for (const device of this.#devices) this.#speed = Math.max(this.#speed, device.glide(time))
    if (!this.#camera.keepUp()) this.#markerLayer.paint()
    return this.#pause(MARKER)
  }

  #paintTrails() {
    this.#trailLayer.paint()
    return this.#pause(TRAIL)
  }

  #pause({ step, least, most, idle }) {
    return this.#speed ? Math.min(Math.max(step / (this.#speed * this.#markerLayer.view.scale), least), most) : idle
  }

  #paint(context, view) {
    const theme = this.#theme()
    const followed = this.#devices.get(this.#camera.followed)
    this.#visible = [...this.#devices].filter((device) => {
      device.pixel.x = device.shown.x * view.scale - view.left
      device.pixel.y = device.shown.y * view.scale - view.top
      return isIn(view, device.pixel)
    })
    if (followed) this.#visible = [followed, ...this.#visible.filter((device) => device !== followed)]
    this.#markers.paint(context, view, this.#visible, theme)
    paintLabels(context, view, this.#reserved, this.#visible, followed, this.names, theme)
    if (followed) paintRing(context, followed, theme)
  }
}

const isIn = ({ width, height }, { x, y }) => x > -EDGE_PX && y > -EDGE_PX && x < width + EDGE_PX && y < height + EDGE_PX
