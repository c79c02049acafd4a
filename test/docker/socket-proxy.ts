import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { createServer, request as requestHttp } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream'
import { text } from 'node:stream/consumers'

const config = join(import.meta.dirname, '../../docs/socket-proxy.cfg')

/** The requests that docs/socket-proxy.cfg lets through: each entry fits `METHOD /path?query` as a whole. */
export function readAllowList(backend: 'container' | 'swarm'): RegExp[] {
  let isApplied = true
  return readFileSync(config, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, condition] = /^\.if (.*)$/.exec(line) ?? []
      if (condition !== undefined && condition !== 'streq("$ONESHOT_BACKEND",swarm)') {
        throw new Error(`${config} has a condition of an unknown kind: ${condition}`)
      }
      if (condition !== undefined) isApplied = backend === 'swarm'
      if (line === '.else') isApplied = !isApplied
      if (line === '.endif') isApplied = true
      if (!/^\s*acl\s/.test(line)) return []
      const [, entry] = /^ {4}acl allowed var\(txn\.asked\) -m reg '(\^[^']+\$)'$/.exec(line) ?? []
      if (entry === undefined) throw new Error(`${config} has an entry of an unknown kind: ${line}`)
      return isApplied ? [new RegExp(entry)] : []
    })
}

/** What HAProxy is with docs/socket-proxy.cfg, between a gateway and the engine of DOCKER_HOST. */
export interface SocketProxy extends AsyncDisposable {
  /** For `DOCKER_HOST`. */
  readonly address: string
  /** What came, as `METHOD /path?query`. */
  readonly asked: readonly string[]
  /** What of it was refused. */
  readonly refused: readonly string[]
  /** Entries that nothing has needed so far. */
  unused(): RegExp[]
  /** The status of a request of a test's own, which neither counts as asked nor as refused. */
  ask(method: string, path: string): Promise<number | undefined>
}

export async function startSocketProxy(backend: 'container' | 'swarm'): Promise<SocketProxy> {
  const entries = readAllowList(backend)
  const engine = toTarget(process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock')
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-socket-'))
  const socketPath = join(folder, 'docker.sock')
  const asked: string[] = []
  const refused: string[] = []
  const used = new Set<RegExp>()
  const open = new Set<Duplex>()

  const isAllowed = ({ method, url, headers }: IncomingMessage) => {
    const what = `${method} ${url}`
    const entry = entries.find((each) => each.test(what))
    if (PROBE in headers) return entry !== undefined
    asked.push(what)
    if (entry) used.add(entry)
    else refused.push(what)
    return entry !== undefined
  }
  const forward = ({ method, url, headers }: IncomingMessage) =>
    requestHttp({ ...engine, method, path: url, headers, agent: false })

  const server = createServer((request, response) => {
    if (!isAllowed(request)) {
      response.writeHead(403, { 'Content-Type': 'application/json' })
      return response.end('{"message":"The socket proxy does not allow this request."}')
    }
    const onward = forward(request)
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      // Whoever waits is told of the beginning at once, as of a log's that is silent.
      response.flushHeaders()
      pipeline(answer, response, () => {})
    })
    response.on('close', () => onward.destroy())
    return pipeline(request, onward, (error) => error && response.destroy())
  })
  server.on('upgrade', (request, socket: Duplex, head: Buffer) => {
    if (!isAllowed(request))
      return socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
    const onward = forward(request)
    onward.on('upgrade', ({ statusCode, statusMessage, rawHeaders }, engineSocket, begun) => {
      const lines = Array.from({ length: rawHeaders.length / 2 }, (_, at) =>
        rawHeaders.slice(2 * at, 2 * at + 2).join(': '),
      )
      socket.write([`HTTP/1.1 ${statusCode} ${statusMessage}`, ...lines, '', ''].join('\r\n'))
      socket.write(begun)
      engineSocket.write(head)
      // Each direction ends by itself: the end of an input is not that of the output.
      for (const [from, to] of [
        [socket, engineSocket],
        [engineSocket, socket],
      ] as const) {
        open.add(from)
        from.on('error', () => to.destroy()).on('close', () => open.delete(from))
        from.pipe(to)
      }
    })
    onward.on('response', (answer) => void refuse(answer, socket))
    onward.on('error', () => socket.destroy())
    return onward.end()
  })
  // Calls may last for as long as they like.
  server.requestTimeout = 0
  server.listen(socketPath)
  await once(server, 'listening')

  return {
    address: `unix://${socketPath}`,
    asked,
    refused,
    unused: () => entries.filter((entry) => !used.has(entry)),
    async ask(method, path) {
      const headers = { [PROBE]: '1', Connection: 'close' }
      const outgoing = requestHttp({ socketPath, method, path, headers })
      const answered = once(outgoing, 'response')
      outgoing.end()
      const [response] = (await answered) as [IncomingMessage]
      response.destroy()
      return response.statusCode
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await rm(folder, { recursive: true })
    },
  }
}

/** Hands on what the engine says instead of an upgrade. */
async function refuse(answer: IncomingMessage, socket: Duplex): Promise<void> {
  const body = await text(answer).catch(() => '')
  const { statusCode, statusMessage } = answer
  const head = `HTTP/1.1 ${statusCode} ${statusMessage}\r\nContent-Length: ${Buffer.byteLength(body)}`
  socket.end(`${head}\r\n\r\n${body}`)
}

/** Marks what a test asks by itself. */
const PROBE = 'x-test'

function toTarget(host: string): RequestOptions {
  if (host.startsWith('unix://')) return { socketPath: host.slice('unix://'.length) }
  const { hostname, port } = new URL(host)
  return { host: hostname.replace(/^\[|\]$/g, ''), port }
}

/** What nobody who may only use the gateway's socket gets, each with what it would be good for. */
export const REFUSED = [
  // Commands in containers that run.
  'POST /containers/oneshot-1/exec',
  'POST /exec/1/start',
  // Files out of containers, and whole ones.
  'GET /containers/oneshot-1/archive?path=/etc',
  'GET /containers/oneshot-1/export',
  'HEAD /containers/oneshot-1/archive?path=/etc/shadow',
  'GET /containers/oneshot-1/top',
  'POST /commit?container=oneshot-1',
  // Containers that are not the gateway's.
  'GET /containers/json?all=1',
  'GET /containers/json',
  'GET /containers/database/json',
  'GET /containers/database/logs?stdout=1',
  'POST /containers/database/attach?stream=1&stdout=1&stderr=1',
  'PUT /containers/database/archive?path=%2F',
  'POST /containers/database/stop?t=1',
  'DELETE /containers/database?force=1&v=1',
  'POST /containers/create',
  'POST /containers/create?name=database',
  'POST /containers/oneshot-1/rename?name=database',
  'POST /containers/oneshot-1/update',
  'POST /containers/prune',
  // Paths that lead elsewhere.
  'GET /containers/oneshot-1/../database/json',
  'GET /containers/oneshot-1%2f..%2fdatabase/json',
  'GET /images/../containers/database/json',
  'GET /images/%2e%2e/containers/database/json',
  'GET /images/a/../../containers/database/json',
  'GET /info/../containers/json',
  'GET /v1.41/info',
  'GET //info',
  'POST /info',
  // Images.
  'POST /build',
  'POST /session',
  'POST /images/load',
  'POST /images/create?fromSrc=-&repo=busybox&tag=stable',
  'POST /images/prune',
  'POST /images/busybox/push',
  'POST /images/busybox:stable/tag?repo=oneshot',
  'DELETE /images/busybox:stable',
  // What belongs to the whole engine.
  'GET /volumes',
  'POST /volumes/create',
  'POST /volumes/prune',
  'DELETE /volumes/database',
  'GET /networks',
  'DELETE /networks/database',
  'POST /networks/prune',
  'GET /plugins',
  'POST /plugins/pull?remote=some',
  'POST /auth',
  'GET /system/df',
  'GET /events',
  // The swarm.
  'GET /swarm',
  'GET /swarm/unlockkey',
  'POST /swarm/init',
  'POST /swarm/join',
  'POST /swarm/leave',
  'POST /swarm/update?version=1',
  'POST /nodes/1/update?version=1',
  'DELETE /nodes/1',
  'GET /services',
  'GET /services/database',
  'POST /services/database/update?version=1',
  'DELETE /services/database',
  'GET /services/database/logs?stdout=1',
  'GET /tasks',
  'GET /configs',
  'GET /configs/database',
  'DELETE /configs/database',
  'GET /secrets',
  'POST /secrets/create',
  'DELETE /secrets/database',
] as const
