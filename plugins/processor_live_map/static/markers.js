// How does a device look? An arrow where it goes, a dot where it stands; the older its position, the fainter.

import { FADED_MS, LOST_MS } from './devices.js'

const OPACITIES = [1, 0.5, 0.25] // fresh, faded, lost
const ARROW = [[0, -11], [8, 9], [0, 4.5], [-8, 9]] // pixels, headed north
const DOT_PX = 6
const OUTLINE_PX = 2
const SPRITE_PX = 28 // room for an arrow in any direction
const TURN_DEGREES = 5
const RING_PX = 17

export const fading = (ageMs) => (ageMs < FADED_MS ? 0 : ageMs < LOST_MS ? 1 : 2)

/** Paints the devices at their `pixel`: each look is drawn once and copied from then on. */
export class Markers {
  #sprites = new Map()
  #theme
  #ratio

  paint(context, view, devices, theme) {
    if (theme !== this.#theme || view.ratio !== this.#ratio) this.#sprites.clear()
    this.#theme = theme
    this.#ratio = view.ratio
    const byFading = OPACITIES.map(() => [])
    for (const device of devices) byFading[fading(device.age())].push(device)
    for (let fade = OPACITIES.length - 1; fade >= 0; fade--) { // the freshest on top
      context.globalAlpha = OPACITIES[fade]
      for (const device of byFading[fade]) {
        const [left, top] = [device.pixel.x, device.pixel.y].map((at) => Math.round(at * view.ratio) / view.ratio - SPRITE_PX / 2)
        context.drawImage(this.#sprite(device), left, top, SPRITE_PX, SPRITE_PX) // on whole pixels, which costs a third
      }
    }
    context.globalAlpha = 1
  }

  #sprite({ hue, course }) {
    const turn = course === undefined ? undefined : Math.round(course / TURN_DEGREES) * TURN_DEGREES % 360
    const look = `${hue} ${turn}`
    if (!this.#sprites.has(look)) this.#sprites.set(look, draw(this.#theme, this.#ratio, hue, turn))
    return this.#sprites.get(look)
  }
}

function draw(theme, ratio, hue, turn) {
  const sprite = document.createElement('canvas')
  sprite.width = sprite.height = SPRITE_PX * ratio
  const context = sprite.getContext('2d')
  context.scale(ratio, ratio)
  context.translate(SPRITE_PX / 2, SPRITE_PX / 2)
  context.rotate((turn ?? 0) * Math.PI / 180)
  context.beginPath()
  if (turn === undefined) context.arc(0, 0, DOT_PX, 0, 2 * Math.PI)
  else for (const corner of ARROW) context.lineTo(...corner)
  context.closePath()
  context.lineJoin = 'round'
  context.lineWidth = 2 * OUTLINE_PX // half of it is under the fill
  context.strokeStyle = theme.ground
  context.fillStyle = theme.devices[hue]
  context.stroke()
  context.fill()
  return sprite
}

/** Paint a ring around the device that is followed. */
export function paintRing(context, { pixel, hue }, theme) {
  context.strokeStyle = theme.devices[hue]
  context.lineWidth = 2.5
  context.beginPath()
  context.arc(pixel.x, pixel.y, RING_PX, 0, 2 * Math.PI)
  context.stroke()
}
