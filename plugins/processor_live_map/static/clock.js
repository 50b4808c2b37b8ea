// What time is it for the service? The clock of a phone may be minutes off, and with it every age on the page.

const TRUSTED_MS = 2_000 // the header tells full seconds, and the answer was on its way

let offset = 0
let origin = NaN // of the page by our own clock, when it was compared

const pageOrigin = () => Date.now() - performance.now()

/** The time in epoch milliseconds, as `ts` has it. */
export const now = () => Date.now() + offset

/** Whether our own clock has been set since it was compared with the service's. */
export const isClockSet = () => Math.abs(pageOrigin() - origin) > TRUSTED_MS

/** Believe the `Date` of an answer of the service, asked for at `askedAt`, if our own clock is clearly off. */
export function setClock(response, askedAt) {
  const received = Date.now()
  origin = pageOrigin()
  const theirs = Date.parse(response.headers.get('date') ?? '') + 500
  const difference = theirs - (askedAt + received) / 2
  offset = Math.abs(difference) > TRUSTED_MS + (received - askedAt) / 2 ? difference : 0
}
