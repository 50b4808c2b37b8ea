// What may be asked of live.js, and what does it tell? docs/contract.md is a file of processor_live, the service.

/** The last known position of a device (docs/contract.md §3). What is absent is unknown. */
export interface PositionEntry {
  /** The tracker's IMEI. */
  deviceId: string
  /** Degrees, WGS 84. */
  lat: number
  lon: number
  /** When the fix was made, in epoch milliseconds. */
  ts: number
  /** km/h; absent also when it stands. */
  speed?: number
  /** Degrees clockwise from north; absent also when that is 0. */
  course?: number
  /** Metres. */
  accuracy?: number
  attributes?: Record<string, unknown>
}

/** A position and the topic it belongs to: a device may take part in several events. */
export interface LivePosition extends PositionEntry {
  topic: string
}

export interface Snapshot {
  /** The latest position of every device of the topic that has one. It replaces all that was known of the topic. */
  snapshot: PositionEntry[]
}

export type Status = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'closed'

export interface StatusDetail {
  /** Why the client has given up by itself: sign in and `connect` again, or report a bug of the client. */
  reason?: 'signedOut' | 'refused'
  /** The close code that led to this status (docs/contract.md §3), if one did. */
  code?: number
}

/** A code of the contract (§3), or the client's own: `timeout`, no answer in 5 s; `closed`, you ended it first. */
export type LiveErrorCode =
  | 'invalid-message'
  | 'unknown-topic'
  | 'forbidden'
  | 'not-found'
  | 'session-ended'
  | 'error'
  | 'too-many-subscriptions'
  | 'rate-limited'
  | 'timeout'
  | 'closed'

export class LiveError extends Error {
  constructor(code: LiveErrorCode, topic: string, message?: string)
  readonly code: LiveErrorCode
  readonly topic: string
}

export interface LiveClientOptions {
  /** Where the service is, e.g. `/ws-live`: relative to the page, or absolute with http, https, ws or wss. */
  url: string
  /**
   * Whether the user is signed in, asked before another attempt when one was refused, because a browser does not show
   * a 401. Only `false` ends the attempts (status `closed`, reason `signedOut`); a rejection means "cannot tell".
   */
  isSignedIn?: () => boolean | Promise<boolean>
  /** For Node and for tests, where there is no global one or it has to send a Cookie header. */
  WebSocket?: new (url: string) => Socket
}

/** What the client uses of a WebSocket: a browser's, or the one of `ws`. */
export interface Socket {
  readonly readyState: number
  onopen: ((event: any) => void) | null
  onmessage: ((event: any) => void) | null
  onclose: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
  send(data: string): void
  close(code?: number): void
}

/** Ends what it was returned for. */
export type Off = () => void

export interface LiveClient {
  readonly status: Status

  /** Connect, and stay connected until `close`. While it waits to reconnect: do so now. Else it does nothing. */
  connect(): void

  /** End it: nothing is followed any more, and every `subscribe` that waits is rejected with `closed`. */
  close(): void

  /**
   * Follow a topic, e.g. `event:<uuid>`, until `unsubscribe` or `close`, across reconnects.
   *
   * Without a connection it waits for one; asked again right after an `error` or a `timeout` it first waits as a
   * reconnect does, up to 30 s (docs/contract.md §9). Rejected with a `LiveError` when the topic is refused or there is
   * no answer in 5 s; it is then not followed. A topic that is followed already is asked for anew, for a fresh snapshot:
   * then `timeout` and `error` leave it followed as it was.
   */
  subscribe(topic: string): Promise<Snapshot>

  /** Report nothing more of a topic, from now on. A `subscribe` that waits for it is rejected with `closed`. */
  unsubscribe(topic: string): void

  /** Once per animation frame that has news: the newest position of each device and topic that has moved. */
  onPosition(listener: (positions: LivePosition[]) => void): Off

  /** Every snapshot, the first one and those after a reconnect: forget the topic's devices and take these. */
  onSnapshot(listener: (news: Snapshot & { topic: string }) => void): Off

  /** A topic that was followed is not any more: the server has refused it, after a reconnect or when asked anew. */
  onRefusal(listener: (error: LiveError) => void): Off

  /** Every change of `status`. */
  onStatus(listener: (status: Status, detail: StatusDetail) => void): Off
}

export function createLiveClient(options: LiveClientOptions): LiveClient
