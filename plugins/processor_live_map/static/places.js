// What are the places called that the devices pass? Those points of the overlay that have a name, where there is room.

import { CanvasLayer } from './canvas.js'
import { eastOf, southOf } from './mercator.js'
import { Room } from './room.js'

const HEIGHT_PX = 16
const STEP_PX = 8 // a square of room.js
const OFFSET_PX = 9 // more than a square of room.js: a name is not in the way of its own dot
const DOT_PX = 4

/** Return the layer, and what it has written where: `{layer, written}`. @param theme returns the colours of the moment */
export function places(features, theme, pane) {
  const named = features.filter(({ geometry, properties }) => geometry?.type === 'Point' && properties?.name)
  const marks = named.map(({ geometry: { coordinates: [lon, lat] }, properties: { name, kind } }) => (
    { x: eastOf(lon), y: southOf(lat), name: String(name), isWater: kind === 'water' }
  ))
  const lines = features.flatMap(({ geometry: { type, coordinates } }) => (
    type === 'LineString' ? [coordinates] : type === 'MultiLineString' ? coordinates : []
  )).map((line) => line.map(([lon, lat]) => ({ x: eastOf(lon), y: southOf(lat) })))
  const written = []
  const layer = new CanvasLayer((context, view) => {
    written.splice(0, Infinity, ...paint(context, view, lines, marks, theme()))
  }, { pane })
  return { layer, written }
}

/** Return the rectangles of what could be written. */
function paint(context, view, lines, marks, theme) {
  const room = new Room(view)
  for (const line of lines) keepClear(room, view, line) // the devices are there
  const written = []
  context.textAlign = 'left'
  context.textBaseline = 'middle'
  context.lineJoin = 'round'
  const placed = marks.map((mark) => ({ ...mark, x: mark.x * view.scale - view.left, y: mark.y * view.scale - view.top }))
  for (const { x, y } of placed.filter(({ isWater }) => !isWater)) {
    dot(context, x, y, theme)
    room.take(x, y, 1, 1)
  }
  for (const mark of placed) {
    context.font = mark.isWater ? `italic 500 12px ${theme.font}` : `600 12px ${theme.font}`
    const { width } = context.measureText(mark.name)
    const spot = spots(mark, width).find(([left, top]) => room.isFree(left, top, width, HEIGHT_PX))
    if (!spot) continue
    written.push([...spot, width, HEIGHT_PX])
    room.take(...spot, width, HEIGHT_PX)
    write(context, mark, spot, theme)
  }
  return written
}

function keepClear(room, { scale, left, top, width, height }, line) {
  let [fromX, fromY] = [NaN, NaN]
  for (const place of line) {
    const [x, y] = [place.x * scale - left, place.y * scale - top]
    if (Math.max(x, fromX) > 0 && Math.min(x, fromX) < width && Math.max(y, fromY) > 0 && Math.min(y, fromY) < height) {
      const steps = Math.ceil(Math.hypot(x - fromX, y - fromY) / STEP_PX)
      for (let n = 0; n <= steps; n++) room.take(fromX + (x - fromX) * n / steps, fromY + (y - fromY) * n / steps, 1, 1)
    }
    [fromX, fromY] = [x, y]
  }
}

/** Left and top of where a name may stand, the best first: that of a lake in it, that of a village beside it. */
function spots({ x, y, isWater }, width) {
  if (isWater) return [[x - width / 2, y - HEIGHT_PX / 2]]
  const [left, right, above, below] = [x - OFFSET_PX - width, x + OFFSET_PX, y - OFFSET_PX - HEIGHT_PX, y + OFFSET_PX]
  return [[left, above], [right, above], [right, below], [left, below], [right, y - HEIGHT_PX / 2], [left, y - HEIGHT_PX / 2]]
}

function dot(context, x, y, theme) {
  context.fillStyle = theme.ground
  context.strokeStyle = theme.place
  context.lineWidth = 2
  context.beginPath()
  context.arc(x, y, DOT_PX, 0, 2 * Math.PI)
  context.fill()
  context.stroke()
}

function write(context, { name, isWater }, [left, top], theme) {
  const middle = top + HEIGHT_PX / 2
  context.strokeStyle = isWater ? theme.water : theme.ground
  context.fillStyle = isWater ? theme.waterInk : theme.place
  context.lineWidth = 4
  context.strokeText(name, left, middle)
  context.fillText(name, left, middle)
}
