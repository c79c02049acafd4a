import type { OpenAPIHono } from '@hono/zod-openapi'
import { allows } from '../core/access.ts'
import type { Envelope } from '../core/envelope.ts'
import { OneshotError } from '../core/error.ts'
import type { Env } from './app.ts'
import { getHealth, getReadiness } from './openapi.ts'

export interface HealthRouteDeps {
  readonly engine: Envelope['engine']
  readonly ping: () => Promise<{
    name: string
    version: string
    os: string
    warnings: readonly string[]
  }>
  readonly isClosing: () => boolean
}

/** `GET /healthz` and `GET /readyz`. */
export function mountHealth(
  app: OpenAPIHono<Env>,
  { engine, ping, isClosing }: HealthRouteDeps,
): void {
  let pinging: ReturnType<typeof ping> | undefined
  /** Anyone may ask: however many do at once, the engine is asked once. */
  const shared = () => (pinging ??= ping().finally(() => (pinging = undefined)))

  app.openapi(getHealth, (c) => c.json({ status: 'ok' } as const, 200))

  app.openapi(getReadiness, async (c) => {
    if (isClosing()) throw new OneshotError('shutting_down', 'The gateway is shutting down.')
    const { name, version, os, warnings } = await shared()
    const status = 'ready' as const
    // What runs behind the gateway, and how well, is of use to who would attack it.
    if (!allows(c.get('caller'), 'read')) return c.json({ status }, 200)
    const detail = { kind: engine, name, version, os, warnings: [...warnings] }
    return c.json({ status, engine: detail }, 200)
  })
}
