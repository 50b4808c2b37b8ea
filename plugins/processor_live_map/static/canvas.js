// How does a canvas move and zoom with the map? As Leaflet's own renderers do, but it is painted by somebody else.

const { Browser, DomUtil, Renderer, Util } = globalThis.L

const MAX_RATIO = 2 // what a phone with three pixels to a point would cost nobody sees

/** `new CanvasLayer(paint, {pane})`: `paint(context, view)` is called when the view has changed, and by `paint()`. */
export const CanvasLayer = Renderer.extend({
  initialize(paint, options) {
    Renderer.prototype.initialize.call(this, options)
    this._paint = paint
  },

  /** Paint the view as it was when the map last came to rest: the canvas itself follows what has happened since. */
  paint() {
    const { _context: context, view } = this
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0)
    context.clearRect(0, 0, view.width, view.height)
    this._paint(context, view)
  },

  _initContainer() {
    this._container = DomUtil.create('canvas', 'painted')
    this._container.setAttribute('aria-hidden', 'true')
    this._context = this._container.getContext('2d')
  },

  _destroyContainer() {
    DomUtil.remove(this._container)
    delete this._container
    delete this._context
  },

  _update() {
    if (this._map._animatingZoom && this._bounds) return // it is being scaled; the end of that is another update
    Renderer.prototype._update.call(this)
    const { min } = this._bounds
    const { x: width, y: height } = this._bounds.getSize()
    const origin = this._map.getPixelOrigin().add(min)
    const inset = this._map.layerPointToContainerPoint(min)
    const ratio = Math.min(Browser.retina ? devicePixelRatio : 1, MAX_RATIO)
    /** How to get from the square of mercator.js to a pixel: `x * scale - left`; the map's own corner is at `inset`. */
    this.view = {
      scale: 256 * 2 ** this._zoom, left: origin.x, top: origin.y, width, height, ratio, inset: { x: -inset.x, y: -inset.y },
    }
    if (this._container.width !== width * ratio || this._container.height !== height * ratio) {
      Object.assign(this._container, { width: width * ratio, height: height * ratio })
      Object.assign(this._container.style, { width: `${width}px`, height: `${height}px` })
    }
    DomUtil.setPosition(this._container, min)
    this.paint()
  },

  _updatePaths: Util.falseFn, // there are none
})
