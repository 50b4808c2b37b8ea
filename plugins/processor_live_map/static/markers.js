// How does a device look? An arrow where it goes, a dot where it stands; the older its position, the fainter.

import { FADED_MS, LOST_MS } from './devices.js'

const OPACITIES = [1, 0.5, 0.25] // fresh, faded, lost
const ARROW = [[0, -11], [8, 9], [0, 4.5], [-8, 9]] // pixels, headed north
const DOT_PX = 6
const OUTLINE_PX = 2
const RING_PX = 17

export const fading = (ageMs) => (ageMs < FADED_MS ? 0 : ageMs < LOST_MS ? 1 : 2)

/** Paint the devices at their `pixel`, those of one colour and stage at once, the freshest on top. */
export function paintMarkers(context, devices, theme) {
  const groups = OPACITIES.map(() => theme.devices.map(() => []))
  for (const device of devices) groups[fading(device.age())][device.hue].push(device)
  context.lineJoin = 'round'
  context.strokeStyle = theme.ground
  context.lineWidth = 2 * OUTLINE_PX // half of it is under the fill
  for (let fade = OPACITIES.length - 1; fade >= 0; fade--) {
    context.globalAlpha = OPACITIES[fade]
    groups[fade].forEach((members, hue) => {
      if (members.length) paintGroup(context, members, theme.devices[hue])
    })
  }
  context.globalAlpha = 1
}

function paintGroup(context, members, colour) {
  context.fillStyle = colour
  context.beginPath()
  for (const { pixel, course } of members) {
    if (course === undefined) {
      context.moveTo(pixel.x + DOT_PX, pixel.y)
      context.arc(pixel.x, pixel.y, DOT_PX, 0, 2 * Math.PI)
    } else {
      const [cos, sin] = [Math.cos(course * Math.PI / 180), Math.sin(course * Math.PI / 180)]
      ARROW.forEach(([x, y], corner) => {
        const method = corner ? 'lineTo' : 'moveTo'
        context[method](pixel.x + x * cos - y * sin, pixel.y + x * sin + y * cos)
      })
    }
    context.closePath()
  }
  context.stroke()
  context.fill()
}

/** Paint a ring around the device that is followed. */
export function paintRing(context, { pixel, hue }, theme) {
  context.strokeStyle = theme.devices[hue]
  context.lineWidth = 2.5
  context.beginPath()
  context.arc(pixel.x, pixel.y, RING_PX, 0, 2 * Math.PI)
  context.stroke()
}
