// js-libp2p as it comes, over TCP, Noise and Yamux, with its identify and ping.
//
// `node peer.mjs serve` prints its peer id and address, echoes CHAT, and counts SINK: it reads to the end, and answers
// with the bytes and the seconds of CPU that took. `... talk ADDRESS BYTES` dials, sends so many bytes over one stream,
// ends its half, and prints whether the same came back, and then the end. `... ask ADDRESS` prints what ping and
// identify say of who is there, and whether CHAT echoes after that. `... bulk ADDRESS BYTES` sends them to SINK, and
// prints the seconds that took, its own of CPU, and the answer.
import { createHash, randomBytes } from 'node:crypto'

// libp2p 3 is written for Node.js 22.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

const { createLibp2p } = await import('libp2p')
const { tcp } = await import('@libp2p/tcp')
const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { identify } = await import('@libp2p/identify')
const { ping } = await import('@libp2p/ping')
const { multiaddr } = await import('@multiformats/multiaddr')

const CHAT = '/test/chat/1'
const SINK = '/bench/sink/1'
const [mode, address, size] = process.argv.slice(2)
const node = await createLibp2p({
  addresses: { listen: mode === 'serve' ? ['/ip4/127.0.0.1/tcp/0'] : [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { ping: ping(), identify: identify({ runOnConnectionOpen: mode !== 'ask' }) }
})

function say (what) {
  console.log(JSON.stringify(what))
}

function cpuSeconds () {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

async function send (stream, data) {
  if (!stream.send(data)) {
    await new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true }))
  }
}

async function sendAll (stream, data, pieceBytes) {
  for (let at = 0; at < data.length; at += pieceBytes) await send(stream, data.subarray(at, at + pieceBytes))
  await stream.close()
}

async function readAll (stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece.subarray())
  return Buffer.concat(pieces)
}

async function echo (stream) {
  for await (const data of stream) await send(stream, data.subarray())
  await stream.close()
}

async function sink (stream) {
  const before = cpuSeconds()
  let count = 0
  for await (const data of stream) count += data.byteLength
  await sendAll(stream, Buffer.from(JSON.stringify([count, cpuSeconds() - before])), 1000)
}

function handle (protocol, handler) {
  return node.handle(protocol, (stream) => handler(stream).catch((error) => stream.abort(error)))
}

async function talk () {
  const stream = await node.dialProtocol(multiaddr(address), CHAT)
  const data = randomBytes(Number(size))
  const seen = createHash('sha256')
  const writing = sendAll(stream, data, 65536)
  for await (const piece of stream) seen.update(piece.subarray())
  await writing
  say(seen.digest('hex') === createHash('sha256').update(data).digest('hex'))
}

async function ask () {
  const connection = await node.dial(multiaddr(address))
  const name = ({ name }) => name
  const pinged = await node.services.ping.ping(connection.remotePeer).then(() => 'answers', name)
  const identified = await node.services.identify.identify(connection).then(({ protocols }) => protocols, name)
  const stream = await connection.newStream(CHAT)
  const [said] = await Promise.all([readAll(stream), sendAll(stream, Buffer.from('still there?'), 100)])
  say([pinged, identified, said.toString()])
}

async function bulk () {
  const stream = await node.dialProtocol(multiaddr(address), SINK)
  const piece = new Uint8Array(256 * 1024)
  const [started, used] = [performance.now(), cpuSeconds()]
  for (let count = Math.floor(size / piece.length); count > 0; count--) await send(stream, piece)
  await stream.close()
  const answer = JSON.parse((await readAll(stream)).toString())
  say([(performance.now() - started) / 1000, cpuSeconds() - used, answer])
}

if (mode === 'serve') {
  await handle(CHAT, echo)
  await handle(SINK, sink)
  say([node.peerId.toString(), node.getMultiaddrs()[0].toString().split('/p2p/')[0]])
  process.stdin.on('end', () => process.exit()).resume()
} else {
  await { talk, ask, bulk }[mode]()
  process.exit()
}
