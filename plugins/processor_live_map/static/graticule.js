// Where on Earth is this? Lines of latitude and longitude with their degrees, for a map without tiles.

import { CanvasLayer } from './canvas.js'
import { eastOf, latitudeAt, longitudeAt, southOf } from './mercator.js'

const STEPS = [30, 15, 10, 5, 2, 1, 30 / 60, 15 / 60, 10 / 60, 5 / 60, 2 / 60, 1 / 60, 30 / 3600, 10 / 3600, 5 / 3600] // degrees
const SPACING_PX = 110 // at least, from line to line
const MARGIN_PX = 6
const SCALE_PX = 110 // the corner where the scale is
const ZOOM_PX = 110 // and that of the buttons that zoom

/** @param theme returns the colours of the moment */
export function graticule(theme, pane) {
  return new CanvasLayer((context, view) => paint(context, view, theme()), { pane })
}

function paint(context, view, theme) {
  const degree = view.scale / 360
  const step = STEPS.findLast((each) => each * degree >= SPACING_PX) ?? STEPS[0]
  const [right, bottom] = [view.width - view.inset.x - MARGIN_PX, view.height - view.inset.y - MARGIN_PX]
  context.strokeStyle = theme.grid
  context.fillStyle = theme.gridInk
  context.lineWidth = 1
  context.font = `11px ${theme.font}`
  context.textBaseline = 'alphabetic'
  context.beginPath()
  context.textAlign = 'left'
  for (const lon of multiples(step, longitudeAt(view.left / view.scale), longitudeAt((view.left + view.width) / view.scale))) {
    const x = Math.round(eastOf(lon) * view.scale - view.left) + 0.5
    context.moveTo(x, 0)
    context.lineTo(x, view.height)
    if (x > view.inset.x + SCALE_PX) context.fillText(degrees(lon, 'E', 'W'), x + 4, bottom)
  }
  context.textAlign = 'right'
  for (const lat of multiples(step, latitudeAt((view.top + view.height) / view.scale), latitudeAt(view.top / view.scale))) {
    const y = Math.round(southOf(lat) * view.scale - view.top) + 0.5
    context.moveTo(0, y)
    context.lineTo(view.width, y)
    if (y > view.inset.y + ZOOM_PX) context.fillText(degrees(lat, 'N', 'S'), right, y - 4)
  }
  context.stroke()
}

function* multiples(step, low, high) {
  for (let n = Math.ceil(low / step); n * step <= high; n++) yield n * step
}

/** 42.5 is 42°30′N; only what is not zero is said of minutes and seconds. */
function degrees(value, positive, negative) {
  const seconds = Math.round(Math.abs(value) * 3600)
  const parts = [[Math.floor(seconds / 3600), '°'], [Math.floor(seconds / 60) % 60, '′'], [seconds % 60, '″']]
  const said = parts.filter(([number], n) => n === 0 || number || (n === 1 && seconds % 60))
  return said.map(([number, unit]) => `${number}${unit}`).join('') + (value < 0 ? negative : value > 0 ? positive : '')
}
