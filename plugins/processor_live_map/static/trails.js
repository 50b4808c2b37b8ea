// Where has a device been? Its last 200 points, and the line through them.

const LENGTH = 200
const GAP_MS = 60_000 // across a longer silence nobody knows the way
const FADES = [0.25, 0.5, 0.85] // the opacity of the oldest, the middle and the newest third
const STEP_PX = 2 // points nearer than this to the last one drawn are skipped
const WIDTH_PX = 3

export class Trail {
  #x = new Float64Array(LENGTH)
  #y = new Float64Array(LENGTH)
  #ts = new Float64Array(LENGTH)
  #count = 0
  #box = { west: Infinity, east: -Infinity, north: Infinity, south: -Infinity } // of all points, and some that have gone

  /** Add a point on the square of mercator.js, and when it was. */
  add(x, y, ts) {
    const at = this.#count++ % LENGTH
    this.#x[at] = x
    this.#y[at] = y
    this.#ts[at] = ts
    if (at === 0 && this.#count > 1) this.#measure()
    this.#widen(x, y)
  }

  #measure() {
    this.#box = { west: Infinity, east: -Infinity, north: Infinity, south: -Infinity }
    for (let n = 0; n < LENGTH; n++) this.#widen(this.#x[n], this.#y[n])
  }

  #widen(x, y) {
    const box = this.#box
    if (x < box.west) box.west = x
    if (x > box.east) box.east = x
    if (y < box.north) box.north = y
    if (y > box.south) box.south = y
  }

  #isIn({ scale, left, top, width, height }) {
    const { west, east, north, south } = this.#box
    return east * scale > left && west * scale < left + width && south * scale > top && north * scale < top + height
  }

  /** The course over ground between the last two points, in degrees clockwise from north, if they differ. */
  course() {
    if (this.#count < 2) return undefined
    const last = (this.#count - 1) % LENGTH
    const before = (this.#count - 2) % LENGTH
    const east = this.#x[last] - this.#x[before]
    const south = this.#y[last] - this.#y[before]
    return east || south ? (Math.atan2(east, -south) * 180 / Math.PI + 360) % 360 : undefined
  }

  /** Add to `paths`, one for each of FADES, the lines that may be seen in `view`, on to where the device is shown. */
  trace(paths, view, shown) {
    if (!this.#isIn(view)) return
    const first = Math.max(0, this.#count - LENGTH)
    let fromX = 0
    let fromY = 0
    let drawn = null // the path that ends where we are
    for (let n = first; n < this.#count; n++) {
      const at = n % LENGTH
      const isLast = n === this.#count - 1 // the device may still be gliding there
      const x = (isLast ? shown.x : this.#x[at]) * view.scale - view.left
      const y = (isLast ? shown.y : this.#y[at]) * view.scale - view.top
      const isConnected = n > first && this.#ts[at] - this.#ts[(n - 1) % LENGTH] <= GAP_MS
      if (isConnected) {
        if (Math.abs(x - fromX) + Math.abs(y - fromY) < STEP_PX && !isLast) continue
        if (isVisible(view, x, y, fromX, fromY)) {
          const path = paths[Math.floor((LENGTH - this.#count + n) * FADES.length / LENGTH)]
          if (drawn !== path) path.moveTo(fromX, fromY)
          path.lineTo(x, y)
          drawn = path
        } else {
          drawn = null
        }
      } else {
        drawn = null
      }
      fromX = x
      fromY = y
    }
  }
}

function isVisible({ width, height }, x, y, fromX, fromY) {
  return !((x < 0 && fromX < 0) || (y < 0 && fromY < 0) || (x > width && fromX > width) || (y > height && fromY > height))
}

/** Paint the trails of all devices, a few strokes for each colour. */
export function paintTrails(context, view, devices, theme) {
  context.lineWidth = WIDTH_PX
  context.lineJoin = 'bevel'
  for (const [colour, members] of byColour(devices, theme)) {
    const paths = FADES.map(() => new Path2D())
    for (const device of members) device.trail.trace(paths, view, device.shown)
    context.strokeStyle = colour
    paths.forEach((path, third) => {
      context.globalAlpha = FADES[third]
      context.stroke(path)
    })
  }
  context.globalAlpha = 1
}

function byColour(devices, theme) {
  const groups = new Map(theme.devices.map((colour) => [colour, []]))
  for (const device of devices) groups.get(theme.devices[device.hue]).push(device)
  return groups
}
