import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Metrics } from '../gateway/metrics.ts'
import type { Env } from './app.ts'
import { getMetrics } from './openapi.ts'

/** `GET /metrics`. */
export function mountMetrics(
  app: OpenAPIHono<Env>,
  { metrics }: { readonly metrics: Metrics },
): void {
  app.openapi(getMetrics, async (c) => {
    const { type, text } = await metrics.render()
    return c.text(text, 200, { 'Content-Type': type })
  })
}
