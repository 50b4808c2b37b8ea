// Which devices are there, in words? A list for eyes, fingers, keyboards and screen readers; a click follows a device.

import { fading } from './markers.js'
import { age, heading, speed } from './wording.js'

const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }

export class List {
  #list
  #search
  #choose
  #rows = new Map()
  #marked

  /** @param choose is called with the id of the device that was clicked */
  constructor(list, search, choose) {
    this.#list = list
    this.#search = search
    this.#choose = choose
    list.addEventListener('keydown', (event) => this.#step(event))
    search.addEventListener('input', () => this.#filter())
  }

  /** List these devices by their names, in that order; who stays keeps the focus. */
  show(devices, names) {
    const { activeElement } = document
    const staying = new Set([...devices].map(({ id }) => id))
    for (const [id, { item }] of this.#rows) { // before the others are put in order, or all below would be moved
      if (staying.has(id)) continue
      item.remove()
      this.#rows.delete(id)
    }
    const sorted = [...devices].sort((one, other) => (names.get(one.id) < names.get(other.id) ? -1 : 1))
    sorted.forEach((device, n) => {
      const row = this.#rows.get(device.id) ?? this.#add(device)
      write(row.name, names.get(device.id))
      if (this.#list.children[n] !== row.item) this.#list.insertBefore(row.item, this.#list.children[n] ?? null)
    })
    if (this.#list.contains(activeElement)) activeElement.focus() // who is moved loses it
    this.#filter()
    this.refresh(devices)
  }

  /** Write what has changed of these devices. */
  refresh(devices) {
    for (const device of devices) {
      const row = this.#rows.get(device.id)
      const ageMs = device.age()
      write(row.motion, [speed(device.speed), heading(device.course)].join(' ').trim())
      write(row.age, age(ageMs))
      row.item.dataset.fading = fading(ageMs)
    }
  }

  /** Mark the device that is followed, and no other. */
  mark(followed) {
    this.#rows.get(this.#marked)?.button.setAttribute('aria-pressed', false)
    this.#marked = followed
    this.#rows.get(followed)?.button.setAttribute('aria-pressed', true)
    this.#rows.get(followed)?.item.scrollIntoView({ block: 'nearest' })
  }

  #add(device) {
    const item = document.createElement('li')
    const button = document.createElement('button')
    button.type = 'button'
    button.title = device.id
    button.tabIndex = -1
    button.setAttribute('aria-pressed', device.id === this.#marked)
    button.style.setProperty('--colour', `var(--device-${device.hue})`)
    button.addEventListener('click', () => this.#choose(device.id))
    const [name, motion, age] = ['name', 'motion', 'age'].map((part) => {
      const cell = document.createElement('span')
      cell.className = part
      button.append(cell, ' ')
      return cell
    })
    item.append(button)
    const row = { item, button, name, motion, age }
    this.#rows.set(device.id, row)
    return row
  }

  #filter() {
    const wanted = this.#search.value.trim()
    for (const [id, { item }] of this.#rows) item.hidden = !id.includes(wanted)
    this.#enter(this.#buttons().find((button) => button.tabIndex === 0) ?? this.#buttons()[0])
  }

  #buttons() {
    return [...this.#list.querySelectorAll('li:not([hidden]) button')]
  }

  /** One stop for the tab key, arrows go on from there. */
  #step(event) {
    const step = STEPS[event.key]
    const buttons = this.#buttons()
    const from = buttons.indexOf(document.activeElement)
    if (!step || from < 0) return
    event.preventDefault()
    const next = buttons[Math.max(0, Math.min(buttons.length - 1, from + step))]
    this.#enter(next)
    next.focus()
  }

  #enter(button) {
    for (const each of this.#list.querySelectorAll('button[tabindex="0"]')) each.tabIndex = -1
    if (button) button.tabIndex = 0
  }
}

/** Write a text, if it is not there already: layout costs more than the question. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text
}
