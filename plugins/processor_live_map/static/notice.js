// Why is there no map to be seen, and what can be done about it?

export class Notice {
  #element
  #beneath

  /** @param beneath what has the focus when somebody has made the notice go: without any, one would begin anew */
  constructor(element, beneath) {
    this.#element = element
    this.#beneath = beneath
  }

  /** @param actions a function or an address for each label */
  show(title, text, actions = {}) {
    const heading = document.createElement('h2')
    heading.textContent = title
    const paragraph = document.createElement('p')
    paragraph.textContent = text
    this.#element.replaceChildren(heading, paragraph, ...Object.entries(actions).map(([label, action]) => offer(label, action)))
    this.#element.hidden = false
  }

  hide() {
    if (this.#element.contains(document.activeElement)) this.#beneath.focus()
    this.#element.hidden = true
  }
}

function offer(label, action) {
  const isLink = typeof action === 'string'
  const element = document.createElement(isLink ? 'a' : 'button')
  element.textContent = label
  element.className = 'action'
  if (isLink) element.href = action
  else element.addEventListener('click', action)
  return element
}
