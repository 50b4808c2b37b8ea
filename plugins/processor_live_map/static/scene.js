// What is painted, how often, and which device is under the finger?

import { CanvasLayer } from './canvas.js'
import { paintLabels } from './labels.js'
import { paintMarkers, paintRing } from './markers.js'
import { paintTrails } from './trails.js'

const SHARE = 1 / 4 // of the time may go into painting, on a slow machine too
const STEP_PX = 0.5 // nobody sees less
const FRAME_MS = 16
const CALM_MS = 250 // the longest time between two paintings while something moves
const IDLE_MS = 1_000 // then something has become older
const REACH_PX = 22 // a finger is no needle
const EDGE_PX = 20

export class Scene {
  #devices
  #camera
  #reserved
  #theme
  #layer
  #visible = []
  #timer = 0
  #due = Infinity
  #painted = { at: 0, ms: 0 }
  /** What devices are called. */
  names = new Map()

  /** @param reserved rectangles of the view where something is written already */
  constructor(map, devices, camera, reserved, theme, pane) {
    this.#devices = devices
    this.#camera = camera
    this.#reserved = reserved
    this.#theme = theme
    this.#layer = new CanvasLayer((context, view) => this.#paint(context, view), { pane })
    this.#layer.addTo(map)
    this.repaint()
  }

  /** Something has changed: paint within so many milliseconds, if the machine can. A hidden page gets no frames. */
  repaint(ms = 0) {
    const now = performance.now()
    const due = Math.max(now + ms, this.#painted.at + this.#painted.ms / SHARE)
    if (due >= this.#due) return
    this.#due = due
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => requestAnimationFrame(() => this.#frame()), due - now)
  }

  /** The device that a click at this point of the map means, if any. */
  at(point) {
    const { inset } = this.#layer.view
    let [nearest, distance] = [undefined, REACH_PX]
    for (const device of this.#visible) {
      const away = Math.hypot(device.pixel.x - inset.x - point.x, device.pixel.y - inset.y - point.y)
      if (away < distance) [nearest, distance] = [device, away]
    }
    return nearest
  }

  #frame() {
    this.#due = Infinity
    const began = performance.now()
    let fastest = 0
    for (const device of this.#devices) fastest = Math.max(fastest, device.glide(began))
    if (!this.#camera.keepUp()) this.#layer.paint()
    this.#painted = { at: began, ms: performance.now() - began }
    const perMs = fastest * this.#layer.view.scale
    this.repaint(fastest ? Math.min(Math.max(STEP_PX / perMs, FRAME_MS), CALM_MS) : IDLE_MS)
  }

  #paint(context, view) {
    const theme = this.#theme()
    const followed = this.#devices.get(this.#camera.followed)
    this.#visible = []
    for (const device of this.#devices) {
      const pixel = { x: device.shown.x * view.scale - view.left, y: device.shown.y * view.scale - view.top }
      if (pixel.x < -EDGE_PX || pixel.y < -EDGE_PX || pixel.x > view.width + EDGE_PX || pixel.y > view.height + EDGE_PX) continue
      device.pixel = pixel
      this.#visible.push(device)
    }
    if (followed) this.#visible = [followed, ...this.#visible.filter((device) => device !== followed)]
    paintTrails(context, view, this.#devices, theme)
    paintMarkers(context, this.#visible, theme)
    paintLabels(context, view, this.#reserved, this.#visible, followed, this.names, theme)
    if (followed) paintRing(context, followed, theme)
  }
}
