// On what do the devices drive? A Leaflet map with tiles, if there are any, and the overlay, if there is one.

import { graticule } from './graticule.js'
import { overlay } from './overlay.js'
import { places } from './places.js'
import { mayAnimate } from './theme.js'

const { featureGroup, map, control, tileLayer } = globalThis.L

const PANES = ['graticule', 'shapes', 'places', 'devices'] // each above the one before, beneath Leaflet's own
const FIRST_PANE_Z = 300
const WORLD = [[60, -30], [-40, 60]]

/** Return the map, the bounds of what is drawn on it, and where names are written. */
export function makeGround(element, config, drawn, theme) {
  const animated = mayAnimate()
  const ground = map(element, {
    attributionControl: false, fadeAnimation: animated, inertia: animated, zoomAnimation: animated, zoomControl: false,
    minZoom: 2, maxZoom: 19,
  })
  PANES.forEach((name, n) => {
    const pane = ground.createPane(name)
    pane.style.zIndex = FIRST_PANE_Z + n
    pane.style.pointerEvents = 'none'
  })
  ground.fitBounds(WORLD)
  control.zoom({ position: 'topright' }).addTo(ground)
  control.scale({ imperial: false }).addTo(ground)
  if (config.tiles) {
    tileLayer(config.tiles, { maxZoom: 19 }).addTo(ground)
    control.attribution({ prefix: false }).addAttribution(escaped(config.attribution)).addTo(ground)
  } else {
    graticule(theme, 'graticule').addTo(ground)
  }
  const shapes = featureGroup(overlay(drawn, 'shapes')).addTo(ground)
  const { layer, written } = places(drawn.features, theme, 'places')
  layer.addTo(ground)
  new ResizeObserver(() => ground.invalidateSize({ animate: false })).observe(element)
  return { map: ground, bounds: shapes.getBounds(), written }
}

/** Leaflet takes an attribution for HTML. */
function escaped(text) {
  const element = document.createElement('span')
  element.textContent = text
  return element.innerHTML
}
