// Where is a place on the square that a web map calls the world? 0 to 1 to the east and to the south (EPSG:3857).

const MAX_LATITUDE = 85.0511287798

export const eastOf = (lon) => lon / 360 + 0.5

export function southOf(lat) {
  const clipped = Math.max(-MAX_LATITUDE, Math.min(MAX_LATITUDE, lat))
  return 0.5 - Math.asinh(Math.tan(clipped * Math.PI / 180)) / (2 * Math.PI)
}

export const longitudeAt = (x) => (x - 0.5) * 360

export const latitudeAt = (y) => Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180 / Math.PI
