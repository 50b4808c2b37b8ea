// What lies beneath the devices? The lines and areas of the GeoJSON of LIVE_MAP_OVERLAY, as map.css paints them.

const { geoJSON } = globalThis.L

/** Return the layers for a FeatureCollection, the lowest first. */
export function overlay(collection, pane) {
  const shapes = (part) => geoJSON(collection, {
    pane,
    interactive: false,
    filter: ({ geometry }) => !geometry.type.endsWith('Point'),
    style: ({ geometry, properties }) => (
      { className: `overlay ${part} ${geometry.type.toLowerCase()} ${properties?.kind === 'water' ? 'water' : ''}` }
    ),
  })
  return [shapes('casing'), shapes('core')] // what is a road on paper is a dark line with a light one in it
}
