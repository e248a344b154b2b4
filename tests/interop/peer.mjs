// js-libp2p as it comes, over TCP, Noise and Yamux.
//
// `node peer.mjs serve` prints its peer id and address, and echoes. `node peer.mjs talk ADDRESS BYTES` dials, sends so
// many bytes over one stream, ends its half, and prints whether the same came back, and then the end.
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
const { multiaddr } = await import('@multiformats/multiaddr')

const CHAT = '/test/chat/1'
const [mode, address, size] = process.argv.slice(2)
const node = await createLibp2p({
  addresses: { listen: mode === 'serve' ? ['/ip4/127.0.0.1/tcp/0'] : [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()]
})

async function send (stream, data) {
  if (!stream.send(data)) {
    await new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true }))
  }
}

if (mode === 'serve') {
  await node.handle(CHAT, async (stream) => {
    try {
      for await (const data of stream) await send(stream, data.subarray())
      await stream.close()
    } catch (error) {
      stream.abort(error)
    }
  })
  console.log(JSON.stringify([node.peerId.toString(), node.getMultiaddrs()[0].toString().split('/p2p/')[0]]))
  process.stdin.on('end', () => process.exit()).resume()
} else {
  const stream = await node.dialProtocol(multiaddr(address), CHAT)
  const data = randomBytes(Number(size))
  const seen = createHash('sha256')
  const writing = (async () => {
    for (let at = 0; at < data.length; at += 65536) await send(stream, data.subarray(at, at + 65536))
    await stream.close()
  })()
  for await (const piece of stream) seen.update(piece.subarray())
  await writing
  console.log(JSON.stringify(seen.digest('hex') === createHash('sha256').update(data).digest('hex')))
  process.exit()
}
