// What does Directus say to this browser's session: is there one, and which events may it read?

export class Directus {
  /** @param base its URL, on this origin, or it would not get the session's cookie */
  constructor(base) {
    this.base = base.replace(/\/?$/, '/')
  }

  /** The events that may be read, in the order of their names: `[{id, name}]`. Throws when Directus cannot tell. */
  async events() {
    let answer = await this.#get('items/events?fields=id,name&limit=-1')
    if (answer.status === 403) answer = await this.#get('items/events?fields=id&limit=-1') // names may be private, or absent
    if (answer.status === 403) return []
    if (!answer.ok) throw new Error(`Directus answered with ${answer.status}`)
    const { data } = await answer.json()
    const named = data.map(({ id, name }) => ({ id, name: name || `Event ${id.slice(0, 8)}` }))
    return named.sort((one, other) => one.name.localeCompare(other.name))
  }

  /** Whether there is a session; throws when Directus cannot tell. */
  async isSignedIn() {
    const answer = await this.#get('users/me?fields=id')
    if (answer.status === 401 || answer.status === 403) return false
    if (!answer.ok) throw new Error(`Directus answered with ${answer.status}`)
    return Boolean((await answer.json()).data)
  }

  #get(path) {
    return fetch(new URL(path, this.base), { headers: { accept: 'application/json' }, cache: 'no-store' })
  }
}
