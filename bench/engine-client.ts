import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage, RequestOptions } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { json } from 'node:stream/consumers'

/** The engine's API with nothing between: what a benchmark measures others against. */
export interface EngineClient {
  /** Sends over a kept connection: the answer's JSON, if it has any. Rejects if the engine refuses. */
  send<T = undefined>(method: string, path: string, body?: unknown): Promise<T>
  /** The output of a container that is not yet started, multiplexed. */
  attach(id: string): Promise<Readable>
  /** The answer as it comes, on a connection of its own. */
  stream(path: string, signal: AbortSignal): Promise<Readable>
}

/** A client of the engine that `DOCKER_HOST` names by its socket, or else of the standard one. */
export function createEngineClient(): EngineClient {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'
  if (!host.startsWith('unix://')) throw new Error(`DOCKER_HOST=${host}: give unix:///PATH`)
  const socketPath = host.slice('unix://'.length)
  const agent = new Agent({ keepAlive: true })

  async function open(options: RequestOptions, body?: string): Promise<IncomingMessage> {
    const outgoing = request({ socketPath, agent, ...options })
    outgoing.end(body)
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const { statusCode: status = 0 } = response
    if (status < 400) return response
    const { message } = (await json(response)) as { message: string }
    throw new Error(`${options.method} ${options.path}: ${status} ${message}`)
  }

  async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const headers = payload === undefined ? {} : toJsonHeaders(payload)
    const response = await open({ method, path, headers }, payload)
    if (response.headers['content-type'] === 'application/json') return (await json(response)) as T
    response.resume()
    if (!response.complete) await once(response, 'end')
    return undefined as T
  }

  async function attach(id: string): Promise<Readable> {
    const outgoing = request({
      socketPath,
      method: 'POST',
      path: `/containers/${id}/attach?stream=1&stdout=1&stderr=1`,
      headers: { Connection: 'Upgrade', Upgrade: 'tcp' },
    })
    outgoing.end()
    const [, socket, head] = (await once(outgoing, 'upgrade')) as [unknown, Duplex, Buffer]
    if (head.length > 0) socket.unshift(head)
    return socket
  }

  return {
    send,
    attach,
    stream: (path, signal) => open({ method: 'GET', path, agent: false, signal }),
  }
}

function toJsonHeaders(payload: string) {
  return { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) }
}
