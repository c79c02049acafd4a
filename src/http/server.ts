import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Env } from './app.ts'

export interface Listener {
  readonly url: string
  /** Takes no more connections; those that are there go on. */
  refuse(): void
  /** Ends what idles at once, and after `lingerMs` milliseconds whatever is left. */
  close(lingerMs: number): Promise<void>
}

/** Serves `app` on `host` and `port` (0: a free one). Rejects if it can't listen there. */
export async function listen(app: OpenAPIHono<Env>, host: string, port: number): Promise<Listener> {
  const server = createAdaptorServer({
    fetch: app.fetch,
    overrideGlobalObjects: false,
    serverOptions: {
      // A body may take as long as the function's own deadline; only heads are bounded here.
      requestTimeout: 0,
      headersTimeout: 30_000,
      keepAliveTimeout: 75_000,
    },
  }) as Server
  // Left to the handler that wants the body: a call that is refused spares the client from sending it.
  server.on('checkContinue', (incoming, outgoing) => server.emit('request', incoming, outgoing))
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
