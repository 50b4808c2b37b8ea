// Is there room for this text? Whatever is written first keeps its place.

const CELL_PX = 8

/** Which parts of a view are taken, in squares of 8 pixels. */
export class Room {
  #view
  #taken = new Set()

  constructor(view) {
    this.#view = view
  }

  take(left, top, width, height) {
    for (const cell of cells(left, top, width, height)) this.#taken.add(cell)
  }

  /** Whether nothing is there yet, and all of it can be seen. */
  isFree(left, top, width, height) {
    const { inset, width: right } = this.#view
    if (left < inset.x || left + width > right - inset.x) return false
    for (const cell of cells(left, top, width, height)) if (this.#taken.has(cell)) return false
    return true
  }
}

function* cells(left, top, width, height) {
  for (let y = Math.floor(top / CELL_PX); y * CELL_PX < top + height; y++) {
    for (let x = Math.floor(left / CELL_PX); x * CELL_PX < left + width; x++) yield y * 100_000 + x
  }
}
