// What is written beside a device? Its name and speed, or for how long it has been silent, where there is room for it.

import { fading } from './markers.js'
import { Room } from './room.js'
import { age, speed } from './wording.js'

const MOST = 150 // text is what costs most on a canvas
const MARKER_PX = 8
const OFFSET_PX = 15
const RINGED_OFFSET_PX = 24
const HEIGHT_PX = 16

/** @param names says what a device is called; @param devices in the order of who may be written first */
export function paintLabels(context, view, reserved, devices, followed, names, theme) {
  const room = new Room(view)
  for (const rectangle of reserved) room.take(...rectangle)
  for (const { pixel } of devices) room.take(pixel.x - MARKER_PX, pixel.y - MARKER_PX, 2 * MARKER_PX, 2 * MARKER_PX)
  context.font = `600 12px ${theme.font}`
  context.textAlign = 'left'
  context.textBaseline = 'middle'
  context.lineJoin = 'round'
  context.lineWidth = 4
  context.strokeStyle = theme.ground
  context.fillStyle = theme.ink
  let written = 0
  for (const device of devices) {
    const text = label(device, names.get(device.id))
    const { x, y } = device.pixel
    const { width } = context.measureText(text)
    const offset = device === followed ? RINGED_OFFSET_PX : OFFSET_PX
    const top = y - HEIGHT_PX / 2
    const left = [x + offset, x - offset - width].find((side) => room.isFree(side, top, width, HEIGHT_PX))
    if (left === undefined) continue
    room.take(left, top, width, HEIGHT_PX)
    context.strokeText(text, left, y)
    context.fillText(text, left, y)
    if (++written === MOST) break
  }
}

function label(device, name) {
  const ageMs = device.age()
  return `${name}  ${fading(ageMs) ? `${age(ageMs)} ago` : speed(device.speed)}`.trimEnd()
}
