import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Delivery, DeliveryAttempt } from '../core/callback.ts'
import type { Deliverer } from '../gateway/deliver.ts'
import type { Env } from './app.ts'
import type { DeliveryStatus } from './openapi-invocations.ts'
import { getDelivery, listDeliveries, retryDelivery } from './openapi-invocations.ts'
import { refuseOtherMethods } from './methods.ts'
import { listPage, PAGE, toTime } from './invocations.ts'

export interface DeliveriesRouteDeps {
  readonly deliverer: Deliverer
}

/** `GET /deliveries`, `GET /deliveries/ID`, `POST /deliveries/ID/retry`. */
export function mountDeliveries(app: OpenAPIHono<Env>, { deliverer }: DeliveriesRouteDeps) {
  app.openapi(listDeliveries, async (c) => {
    const { state, invocation, cursor, limit = PAGE } = c.req.valid('query')
    const filter = { ...(state && { state }), ...(invocation && { invocationId: invocation }) }
    const { items, next } = await listPage(limit, cursor, (page) => deliverer.list(filter, page))
    return c.json({ deliveries: items.map(toStatus), ...(next && { next }) }, 200)
  })
  app.openapi(getDelivery, async (c) =>
    c.json(toStatus(await deliverer.get(c.req.valid('param').id)), 200),
  )
  app.openapi(retryDelivery, async (c) =>
    c.json(toStatus(await deliverer.retry(c.req.valid('param').id)), 200),
  )
  refuseOtherMethods(app, '/deliveries', 'GET, HEAD')
  refuseOtherMethods(app, '/deliveries/:id', 'GET, HEAD')
  refuseOtherMethods(app, '/deliveries/:id/retry', 'POST')
}

function toStatus(delivery: Delivery): DeliveryStatus {
  const { id, invocationId, functionName, callback, state, createdAt, dueAt, attempts } = delivery
  return {
    id,
    invocation: invocationId,
    function: functionName,
    url: callback.url,
    format: callback.format,
    state,
    createdAt: toTime(createdAt),
    ...(state === 'pending' && { dueAt: toTime(dueAt) }),
    attempts: attempts.map(toAttempt),
  }
}

function toAttempt({ at, ...attempt }: DeliveryAttempt) {
  return { at: toTime(at), ...attempt }
}
