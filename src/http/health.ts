import type { OpenAPIHono } from '@hono/zod-openapi'
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
  app.openapi(getHealth, (c) => c.json({ status: 'ok' } as const, 200))

  app.openapi(getReadiness, async (c) => {
    if (isClosing()) throw new OneshotError('shutting_down', 'The gateway is shutting down.')
    const { name, version, os, warnings } = await ping()
    return c.json(
      {
        status: 'ready',
        engine: { kind: engine, name, version, os, warnings: [...warnings] },
      } as const,
      200,
    )
  })
}
