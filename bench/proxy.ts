import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A socket that leads to an engine's, and counts the requests. */
export interface Proxy extends AsyncDisposable {
  /** For `DOCKER_HOST`. */
  readonly address: string
  count(): number
  reset(): void
}

export async function startProxy(host: string): Promise<Proxy> {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-proxy-'))
  const path = join(folder, 'docker.sock')
  const socketPath = host.slice('unix://'.length)
  let count = 0
  const server = createServer((incoming, outgoing) => {
    count += 1
    const { method, url, headers } = incoming
    const onward = request({ socketPath, method, path: url, headers })
    onward.on('response', (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers)
      outgoing.flushHeaders()
      response.pipe(outgoing)
    })
    onward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => onward.destroy())
    incoming.pipe(onward)
  })
  server.listen(path)
  await once(server, 'listening')
  return {
    address: `unix://${path}`,
    count: () => count,
    reset() {
      count = 0
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await rm(folder, { recursive: true })
    },
  }
}
