import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from 'node:net'
import { cert, key } from './certificate.ts'

/** Allowed by an entry in the tests, while 127.0.0.1 and ::1 are where the traps are. */
export const RECEIVER = '127.0.0.2'

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

interface Watched extends AsyncDisposable {
  readonly port: number
  /** Every connection there ever was. */
  readonly sockets: readonly Socket[]
}

export interface Receiver extends Watched {
  readonly received: readonly Received[]
}

/** Takes requests whole, and then has them answered. */
export async function receive(answer: RequestListener, secure = false): Promise<Receiver> {
  const received: Received[] = []
  const listener: RequestListener = (request, response) => {
    void (async () => {
      const chunks: Buffer[] = []
      try {
        for await (const chunk of request) chunks.push(chunk as Buffer)
      } catch {
        return
      }
      response.on('error', () => {})
      const { method = '', url: path = '', headers } = request
      received.push({ method, path, headers, body: Buffer.concat(chunks) })
      answer(request, response)
    })()
  }
  const server = secure ? createSecureServer({ key, cert }, listener) : createServer(listener)
  return { ...(await watch([server], [RECEIVER])), received }
}

/** Takes connections and bytes, and says what it is told to, if anything. */
export async function listen(
  greet: (socket: Socket) => void = (socket) => socket.resume(),
): Promise<Watched> {
  return watch([createTcpServer(greet)], [RECEIVER])
}

/** What must not be connected to: one port at 127.0.0.1 and at ::1. */
export async function setTrap(): Promise<Watched & { readonly bytes: () => number }> {
  let bytes = 0
  const servers = [0, 0].map(() =>
    createTcpServer((socket) => socket.on('data', (chunk) => (bytes += chunk.length))),
  )
  return { ...(await watch(servers, ['127.0.0.1', '::1'])), bytes: () => bytes }
}

async function watch(servers: readonly Server[], hosts: readonly string[]): Promise<Watched> {
  const sockets: Socket[] = []
  let port = 0
  for (const [index, server] of servers.entries()) {
    server.on('connection', (socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
    })
    server.listen(port, hosts[index])
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  }
  return {
    port,
    sockets,
    [Symbol.asyncDispose]: async () => {
      const closed = servers.map((server) => once(server, 'close'))
      for (const server of servers) server.close()
      for (const socket of sockets) socket.destroy()
      await Promise.all(closed)
    },
  }
}
