// A viewer on Node's `ws`, driven by lines on stdin, that writes every message it decodes as a line to stdout.
// Usage: node viewer.js URL COOKIE PER_MESSAGE_DEFLATE_OPTIONS, the last as JSON; `ws` is found through NODE_PATH.
const WebSocket = require('ws')

const [url, cookie, perMessageDeflate] = process.argv.slice(2)
const socket = new WebSocket(url, { headers: { Cookie: cookie }, perMessageDeflate: JSON.parse(perMessageDeflate) })
socket.on('open', () => console.log(JSON.stringify({ type: 'open', extensions: socket.extensions })))
socket.on('message', (data) => console.log(data.toString()))
socket.on('close', (code) => process.exit(code === 1000 ? 0 : 1))
socket.on('error', (error) => console.log(JSON.stringify({ type: 'failure', message: error.message })))

const commands = { '!pause': () => socket.pause(), '!resume': () => socket.resume(), '!close': () => socket.close(1000) }
require('readline').createInterface(process.stdin).on('line', (line) => (commands[line] ?? (() => socket.send(line)))())
