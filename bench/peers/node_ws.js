// The design being replaced: Node's `ws`, each position made into JSON anew for every client.
// Positions come as lines of JSON on stdin; `ws` is found through NODE_PATH.
const { WebSocketServer } = require('ws')

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
server.on('listening', () => console.log(server.address().port))
server.on('connection', (socket) => {
  socket.on('message', (data) => {
    const { topic } = JSON.parse(data)
    socket.topic = topic
    socket.send(JSON.stringify({ type: 'subscribed', topic, snapshot: [] }))
  })
  socket.on('error', () => {})
})
require('readline').createInterface(process.stdin).on('line', (line) => {
  const position = JSON.parse(line)
  for (const socket of server.clients) if (socket.topic === position.topic) socket.send(JSON.stringify(position))
})
