// How do a device, its age and its speed read?

const COMPASS = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW']
const SHORTEST = 4

/** Names for devices that are as short as they may be and still differ: the last digits of the IMEI. */
export function shortNames(ids) {
  let length = SHORTEST
  while (new Set(ids.map((id) => id.slice(-length))).size < ids.length) length++
  return new Map(ids.map((id) => [id, id.slice(-length)]))
}

/** A duration, rounded down: it is at least as long. */
export function age(ms) {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 1) return 'now'
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** km/h; unknown and standing look the same (docs/contract.md §3). */
export const speed = (kmh) => (kmh === undefined ? '' : `${Math.round(kmh)} km/h`)

/** Degrees clockwise from north, as the nearest of eight winds. */
export const heading = (degrees) => (degrees === undefined ? '' : COMPASS[Math.round(degrees / 45) % 8])
