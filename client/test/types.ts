// Does what callers write check against live.d.ts, and what they must not write fail? `npm run types` answers.
import { createLiveClient, LiveError, type LiveClient, type LivePosition, type Off, type PositionEntry } from 'processor-live-client'

const live: LiveClient = createLiveClient({ url: '/ws-live' })
createLiveClient({ url: '/ws-live', isSignedIn: async () => (await fetch('/users/me')).ok, WebSocket })
createLiveClient({ url: '/ws-live', isSignedIn: () => true })
// @ts-expect-error nobody knows where the service is
createLiveClient({})
// @ts-expect-error "perhaps" is a rejection
createLiveClient({ url: '/ws-live', isSignedIn: () => 'perhaps' })

live.connect()
live.close()
live.unsubscribe('event:1')

const entries: PositionEntry[] = (await live.subscribe('event:1')).snapshot
// @ts-expect-error an entry of a snapshot has no topic of its own
entries.map(({ topic }) => topic)
const moving: boolean[] = entries.map(({ speed = 0 }) => speed > 0)
// @ts-expect-error what is unknown is absent
entries.map(({ speed }) => speed > 0)

const off: Off = live.onPosition((positions: LivePosition[]) => positions.map(({ topic, deviceId }) => topic + deviceId))
off()
live.onSnapshot(({ topic, snapshot }) => topic.length + snapshot.length)
live.onRefusal(({ code, topic, message }) => code === 'forbidden' && topic + message)
live.onStatus((status, { reason, code }) => status === 'closed' && reason === 'signedOut' && code === 4401)
// @ts-expect-error there is no such status
live.onStatus((status) => status === 'offline')
// @ts-expect-error only the client changes it
live.status = 'idle'

try {
  await live.subscribe('event:1')
} catch (error) {
  if (error instanceof LiveError && error.code === 'timeout') live.unsubscribe(error.topic)
  // @ts-expect-error there is no such code
  if (error instanceof LiveError && error.code === 'nonsense') live.close()
}
export { moving }
