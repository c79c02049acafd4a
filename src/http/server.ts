import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { OpenAPIHono } from '@hono/zod-openapi'
import { OneshotError } from '../core/error.ts'
import type { Env } from './app.ts'

const MAX_HEADER_BYTES = 16 * 1024
const MAX_HEADERS = 100
/** More are closed as soon as they come. */
const MAX_CONNECTIONS = 10_000
const HEADERS_TIMEOUT_MS = 30_000
/** How often those are looked for whose heads take too long. */
const CHECK_MS = 5_000

export interface Listener {
  readonly url: string
  /** Takes no more connections; those that are there go on. */
  refuse(): void
  /** Ends what idles at once, and after `lingerMs` milliseconds whatever is left. */
  close(lingerMs: number): Promise<void>
}

/** Serves `app` on `host` and `port` (0: a free one). Rejects if it can't listen there. */
export async function listen(app: OpenAPIHono<Env>, host: string, port: number): Promise<Listener> {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    // A body may take as long as the function's own deadline; only heads are bounded here, and bodies by their pace (body.ts).
    requestTimeout: 0,
    headersTimeout: HEADERS_TIMEOUT_MS,
    connectionsCheckingInterval: CHECK_MS,
    keepAliveTimeout: 75_000,
    // Refused by the app, with a problem.
    requireHostHeader: false,
  })
  server.maxConnections = MAX_CONNECTIONS
  // One more than is taken: Node leaves out those beyond, and what else they might say, without a word.
  server.maxHeadersCount = MAX_HEADERS + 1
  server.on('request', (incoming, outgoing) => {
    answer(app, incoming, outgoing)
  })
  // Left to the handler that wants the body: a call that is refused spares the client from sending it.
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    let isAsked = false
    const askForBody = () => {
      if (!isAsked) outgoing.writeContinue()
      isAsked = true
    }
    answer(app, incoming, outgoing, { askForBody })
  })
  server.on('checkExpectation', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const detail = 'Only "Expect: 100-continue" can be met: leave the header out.'
    answer(app, incoming, outgoing, { refusal: new OneshotError('expectation_failed', detail) })
  })
  server.listen(port, host)
  await once(server, 'listening')
  const closed = once(server, 'close')
  const { address, family, port: bound } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`,
    refuse: () => void server.close(),
    async close(lingerMs) {
      server.close()
      const timer = setTimeout(() => server.closeAllConnections(), lingerMs)
      server.closeIdleConnections()
      await closed
      clearTimeout(timer)
    },
  }
}

/** What is no request that the app could read is shown to it as a refusal, so that every answer is made in one place. */
function answer(
  app: OpenAPIHono<Env>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  about: Partial<Env['Bindings']> = {},
): void {
  const bindings: Env['Bindings'] = {
    incoming,
    outgoing,
    askForBody: () => {},
    ...(incoming.rawHeaders.length > MAX_HEADERS * 2 && { refusal: toTooMany() }),
    ...about,
  }
  const handle = getRequestListener((request) => app.fetch(request, bindings), {
    overrideGlobalObjects: false,
    // For HTTP/1.0, which needs no Host.
    hostname: 'gateway',
    errorHandler: (error) =>
      app.fetch(new Request('http://gateway/'), { ...bindings, refusal: toRefusal(error) }),
  })
  void handle(incoming, outgoing)
}

function toTooMany(): OneshotError {
  return new OneshotError(
    'bad_request',
    `A request has at most ${MAX_HEADERS} headers: send fewer.`,
  )
}

function toRefusal(error: unknown): Error {
  if (!(error instanceof Error)) return new Error('no error was thrown', { cause: error })
  if (!(error instanceof RequestError)) return error
  const detail = `The request can't be read (${error.message}): correct its target and its Host header.`
  return new OneshotError('bad_request', detail, { cause: error })
}
