import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { request } from 'node:http'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import type { Authenticator } from '../../src/core/access.ts'
import { ANYONE } from '../../src/core/access.ts'
import { parseNetworks } from '../../src/core/address.ts'
import { OneshotError } from '../../src/core/error.ts'
import type { FunctionSpec } from '../../src/core/function.ts'
import { parseAllowList } from '../../src/core/callback-target.ts'
import type { Catalog } from '../../src/gateway/catalog.ts'
import type { Deployed } from '../../src/gateway/deployed.ts'
import type { Send } from '../../src/gateway/deliver.ts'
import type { Observer } from '../../src/gateway/invoke.ts'
import { createMetrics } from '../../src/gateway/metrics.ts'
import type { Scheduler } from '../../src/gateway/schedule.ts'
import { createApp } from '../../src/http/app.ts'
import type { GuardDeps } from '../../src/http/guard.ts'
import { listen } from '../../src/http/server.ts'
import { createLogger } from '../../src/logger.ts'
import { functionSpec } from '../function-spec.ts'
import { startGateway } from '../gateway/start-gateway.ts'

interface ServeOptions {
  readonly concurrency?: number
  readonly queueLength?: number
  readonly clock?: () => number
  readonly send?: Send
  readonly listSchedules?: Scheduler['list']
  /** Unless given, nobody has to say who he is. */
  readonly authenticator?: Authenticator
  readonly rates?: GuardDeps['rates']
  readonly trustedProxies?: string
  readonly corsOrigins?: readonly string[]
  readonly host?: string
  /** Further functions. */
  readonly specs?: readonly FunctionSpec[]
  /** The functions, in place of the one. */
  readonly functions?: { readonly catalog: Catalog; readonly deployed: Deployed }
}

/** The whole of HTTP over a real connection, with an engine whose tasks end when the test says so. */
export async function serve(overrides: Partial<FunctionSpec> = {}, options: ServeOptions = {}) {
  const { concurrency = 10, queueLength = 10, clock = Date.now, send, specs = [] } = options
  const { functions, listSchedules } = options
  const spec = functionSpec(overrides)
  const logs: Record<string, unknown>[] = []
  const logger = createLogger('debug', {
    write: (line) => void logs.push(JSON.parse(line) as Record<string, unknown>),
  })
  const newId = () => crypto.randomUUID()
  const observer: Observer = {
    called: () => {},
    settled: (invocation) => metrics.settled(invocation),
    refused: ({ name }, error) => metrics.refused(name, error),
  }
  const gateway = await startGateway({
    concurrency,
    queueLength,
    specs: [spec, ...specs],
    newId,
    clock,
    observer,
    logger,
    ...(send && { send }),
    ...(functions && { catalog: functions.catalog }),
  })
  await gateway.gateway.start()
  const { engine, admission, invoker, next } = gateway
  const metrics = createMetrics({ engine, admission })
  const getEntry = (name: string): never => {
    throw new OneshotError('function_not_found', `There is no function ${name}.`)
  }
  const catalog =
    functions?.catalog ?? ({ ...gateway.catalog, getEntry, list: () => [] } as unknown as Catalog)
  const unknown = () => Promise.reject(new Error('nothing was to be deployed'))
  const app = createApp({
    ...gateway.gateway,
    catalog,
    deployer: functions?.deployed ?? { put: unknown, remove: unknown },
    callbackRules: { allow: parseAllowList('127.0.0.1').rules },
    metrics,
    listSchedules: listSchedules ?? (() => Promise.resolve([])),
    findColdReason: () => undefined,
    ping: () => engine.ping(),
    findImageDigest: () => Promise.resolve(undefined),
    isClosing: () => false,
    newId,
    clock,
    version: '0.0.0',
    logger,
    authenticator: options.authenticator ?? {
      isOpen: true,
      authenticate: () => Promise.resolve(ANYONE),
    },
    rates: options.rates ?? { perKey: undefined, perAddress: undefined },
    trustedProxies: parseNetworks(options.trustedProxies ?? '').networks,
    corsOrigins: options.corsOrigins ?? [],
    host: options.host ?? '127.0.0.1',
  })
  const listener = await listen(app, '127.0.0.1', 0)
  onTestFinished(async () => {
    await invoker.close(0)
    await listener.close(0)
  })
  return { ...gateway, url: listener.url, next, invoker, logs }
}

export interface Sent {
  readonly response: Promise<IncomingMessage>
  /** The server has asked for the body. */
  readonly continued: Promise<unknown>
  /** The connection is closed. */
  readonly closed: Promise<unknown>
  /** Sends a piece of the body. */
  write(chunk: string | Uint8Array): void
  end(): void
  /** Goes away. */
  abort(): void
}

/** A request whose body is sent when the test says so, over a connection of its own. */
export function send(url: string, headers: OutgoingHttpHeaders = {}, method = 'POST'): Sent {
  const outgoing = request(url, { method, headers, agent: false })
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  outgoing.on('response', resolve)
  outgoing.on('error', reject)
  promise.catch(() => {})
  const continued = once(outgoing, 'continue')
  continued.catch(() => {})
  const closed = once(outgoing, 'socket').then(([socket]) => once(socket as Socket, 'close'))
  closed.catch(() => {})
  outgoing.flushHeaders()
  return {
    continued,
    closed,
    response: promise,
    write: (chunk) => void outgoing.write(chunk),
    end: () => void outgoing.end(),
    abort: () => void outgoing.destroy(),
  }
}

export async function post(
  url: string,
  body: string | Uint8Array = '',
  headers: OutgoingHttpHeaders = {},
) {
  const length = Buffer.byteLength(body)
  const sent = send(url, { ...(length > 0 && { 'Content-Length': length }), ...headers })
  if (length > 0) sent.write(body)
  sent.end()
  const response = await sent.response
  return {
    response,
    status: response.statusCode,
    headers: response.headers,
    body: () => buffer(response),
  }
}
