// Which colours does the canvas use? Those of map.css, light or dark.

/** How many colours devices have. */
export const HUES = 8

/** What `map.css` says at the moment. */
export function readTheme() {
  const style = getComputedStyle(document.documentElement)
  const colour = (name) => style.getPropertyValue(`--${name}`).trim()
  return {
    font: style.fontFamily,
    ground: colour('ground'),
    ink: colour('ink'),
    grid: colour('grid'),
    gridInk: colour('grid-ink'),
    place: colour('place'),
    water: colour('water'),
    waterInk: colour('water-ink'),
    devices: Array.from({ length: HUES }, (_, hue) => colour(`device-${hue}`)),
  }
}

/** Call `listener` when day turns into night, or back. */
export function onThemeChange(listener) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', listener)
}

const still = matchMedia('(prefers-reduced-motion: reduce)')

/** Whether things may move that need not. */
export const mayAnimate = () => !still.matches
