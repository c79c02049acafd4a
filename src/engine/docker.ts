import { once } from 'node:events'
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Duplex, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type Docker from 'dockerode'
import { OneshotError } from '../core/error.ts'
import type { RegistryAuth } from './credentials.ts'

/** dockerode's client knows where the engine is; its type doesn't say so. */
interface Connection {
  readonly protocol: 'http' | 'https' | 'ssh'
  readonly host: string | undefined
  readonly port: string | number | undefined
  readonly pathPrefix: string | undefined
  readonly key: string | undefined
  readonly cert: string | undefined
  readonly ca: string | string[] | undefined
  getSocketPath(): Promise<string> | undefined
}

/** Where a client's engine is. */
export function toConnection(docker: Docker): Connection {
  return docker.modem as unknown as Connection
}

/**
 * Takes over the connection of a `POST` to `path`, as attaching does. Written out because dockerode sends its options
 * as a body, which some engines then feed to the container's stdin.
 */
export async function upgrade(docker: Docker, path: string): Promise<Duplex> {
  const headers = { Connection: 'Upgrade', Upgrade: 'tcp' }
  const outgoing = await open(docker, { method: 'POST', path, headers })
  return new Promise((resolve, reject) => {
    outgoing.once('upgrade', (_response, socket, head) => {
      // Whoever reads or writes meets its failure; between them it must not end the process.
      socket.on('error', () => {})
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    outgoing.once('response', (response) => {
      response.resume()
      const error = new Error(`the engine answered ${response.statusCode} instead of an upgrade`)
      reject(Object.assign(error, { statusCode: response.statusCode }))
    })
    outgoing.once('error', reject)
    outgoing.end()
  })
}

const KEEP_ALIVE_MS = 10_000

/** The engine's answer to a `GET` of `path`, as it comes. `over` breaks it off, which is an error of the stream's. */
export async function openStream(
  docker: Docker,
  path: string,
  over: AbortSignal,
): Promise<Readable> {
  const outgoing = await open(docker, { method: 'GET', path, agent: false, signal: over })
  const answered = once(outgoing, 'response')
  // It may be silent for hours, by which alone nobody could tell that the engine's host has lost its power.
  outgoing.once('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS))
  outgoing.end()
  const [response] = (await answered) as [IncomingMessage]
  const status = response.statusCode ?? 0
  if (status !== 200) toAnswer(status, await text(response))
  return response
}

export interface EngineRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE'
  /** With its query. Names in it are of our own making, or escaped. */
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** On a connection of its own: an engine on its way out takes no new one, though it may still answer on old ones. */
  readonly afresh?: boolean
  /** How long the whole answer may take, in milliseconds; unless given, for ever. */
  readonly withinMs?: number
}

/** The value of `X-Registry-Auth`. Base64url with its padding: the engine's decoder wants it. */
export function toRegistryAuth(auth: RegistryAuth): string {
  const base64 = Buffer.from(JSON.stringify(auth)).toString('base64')
  return base64.replaceAll('+', '-').replaceAll('/', '_')
}

/** How long the engine may take over a request of ours that nobody waits for, before it is given up. */
export const ANSWER_MS = 60_000

/**
 * The engine's answer, as JSON. Rejects with its `statusCode` and `json` if it refuses, and if it takes too long. Written out because dockerode waits for
 * ever if the connection breaks once the answer's head is there, and repeats a body in the URL.
 */
export async function ask(
  docker: Docker,
  { method, path, body, headers, afresh, withinMs }: EngineRequest,
): Promise<unknown> {
  const over = new AbortController()
  const timer = withinMs === undefined ? undefined : setTimeout(() => over.abort(), withinMs)
  const payload = body === undefined ? undefined : JSON.stringify(body)
  try {
    const outgoing = await open(docker, {
      method,
      path,
      ...(timer && { signal: over.signal }),
      ...(afresh && { agent: false }),
      headers: {
        ...headers,
        ...(payload !== undefined && {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(payload),
        }),
      },
    })
    const answered = once(outgoing, 'response')
    outgoing.end(payload)
    const [response] = (await answered) as [IncomingMessage]
    return toAnswer(response.statusCode ?? 0, await text(response))
  } catch (error) {
    if (!over.signal.aborted) throw error
    throw new Error(`no answer within ${withinMs} ms`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

function toAnswer(status: number, answer: string): unknown {
  const json = parseJson(answer)
  if (status >= 200 && status < 400) return json
  throw Object.assign(new Error(`the engine answered ${status}: ${answer}`), {
    statusCode: status,
    json,
  })
}

function parseJson(answer: string): unknown {
  try {
    return JSON.parse(answer)
  } catch {
    return undefined
  }
}

async function open(docker: Docker, options: RequestOptions): Promise<ClientRequest> {
  const { protocol, host, port, pathPrefix, key, cert, ca, getSocketPath } = toConnection(docker)
  const socketPath = await getSocketPath.call(docker.modem)
  const request = protocol === 'https' ? requestHttps : requestHttp
  const outgoing = request({
    ...(host === undefined ? { socketPath } : { host, port, key, cert, ca }),
    ...options,
    path: `${(pathPrefix ?? '').replace(/\/$/, '')}${options.path}`,
  })
  // Whoever waits for the answer meets a failure there; one that comes after the head must not end the process.
  outgoing.on('error', () => {})
  return outgoing
}

/** The HTTP status that the engine refused with; undefined if there was no answer from it. */
export function findStatus(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode
  return typeof status === 'number' ? status : undefined
}

/** The engine's own words, without dockerode's around them. */
export function toMessage(error: unknown): string {
  const message = (error as { json?: { message?: unknown } } | undefined)?.json?.message
  if (typeof message === 'string') return message
  return error instanceof Error ? error.message : String(error)
}

export function isStatus(error: unknown, ...statuses: number[]): boolean {
  const status = findStatus(error)
  return status !== undefined && statuses.includes(status)
}

/** What went wrong between us and the engine. An error of ours passes as it is. */
export function toEngineError(error: unknown): OneshotError {
  if (error instanceof OneshotError) return error
  if (findStatus(error) !== undefined) {
    return new OneshotError('engine_failed', `The Docker engine failed: ${toMessage(error)}`, {
      cause: error,
    })
  }
  const code = (error as { code?: unknown } | undefined)?.code
  const detail =
    code === 'EACCES'
      ? "The gateway may not use the Docker engine's socket: run it as a user of the socket's group."
      : `The Docker engine does not answer (${typeof code === 'string' ? code : toMessage(error)}): see that it runs and that DOCKER_HOST names it.`
  return new OneshotError('engine_unreachable', detail, { cause: error, retryAfterSeconds: 5 })
}
