import type { OpenAPIHono } from '@hono/zod-openapi'
import { toRecordedName } from '../core/access.ts'
import { OneshotError } from '../core/error.ts'
import type { HookDelivery } from '../core/webhook/delivery.ts'
import type { HookRequest } from '../core/webhook/request.ts'
import { decodeUtf8 } from '../core/webhook/request.ts'
import type { RefusedDelivery } from '../gateway/hook-refusals.ts'
import type { ListedHook } from '../gateway/hook-registry.ts'
import type { DryRun, Hooks } from '../gateway/hooks.ts'
import { INVOCATION } from './answer.ts'
import type { Env } from './app.ts'
import type { DeliveryReader } from './hook-request.ts'
import { listPage, PAGE, toTime } from './invocations.ts'
import { refuseOtherMethods } from './methods.ts'
import type {
  HookDeliveryStatus,
  HookRunStatus,
  HookSummary,
  RefusedDeliveryStatus,
} from './openapi-hooks.ts'
import {
  dryRunHook,
  getHookDelivery,
  listHookDeliveries,
  listHooks,
  redeliverHookDelivery,
} from './openapi-hooks.ts'

export interface HooksRouteDeps {
  readonly hooks: Hooks
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** What is shown of a body. */
const MAX_SHOWN_BYTES = 64 * 1024
/** Stands for the delivery's own `Authorization`: that of the request is its caller's. */
const AUTHORIZATION = 'x-oneshot-authorization'

/** `/hooks` and what stands below it: what webhooks there are, and what came to them. */
export function mountHooks(
  app: OpenAPIHono<Env>,
  { hooks, clock }: HooksRouteDeps,
  read: DeliveryReader,
) {
  app.openapi(listHooks, (c) =>
    c.json({ hooks: hooks.list().map((hook) => toSummary(hook, clock())) }, 200),
  )

  app.openapi(listHookDeliveries, async (c) => {
    const { name } = c.req.valid('param')
    const { cursor, limit = PAGE } = c.req.valid('query')
    const { items, next } = await listPage(limit, cursor, (page) =>
      hooks.listDeliveries(name, page),
    )
    // What came to one that is gone can still be looked at.
    if (items.length === 0 && !hooks.list().some((it) => it.name === name)) hooks.get(name)
    const refused = hooks.listRefused(name).map(toRefused)
    const body = { deliveries: items.map(toStatus), ...(cursor === undefined && { refused }) }
    return c.json({ ...body, ...(next && { next }) }, 200)
  })

  app.openapi(getHookDelivery, async (c) => {
    const { name, id } = c.req.valid('param')
    const { delivery, body } = await hooks.getDelivery(name, id)
    const isShown = body !== undefined && body.length <= MAX_SHOWN_BYTES
    return c.json(
      {
        ...toStatus(delivery),
        bodyKept: body !== undefined,
        ...(isShown && { body: showBody(body) }),
      },
      200,
    )
  })

  app.openapi(redeliverHookDelivery, async (c) => {
    const { name, id } = c.req.valid('param')
    const made = await hooks.redeliver(name, id, {
      callId: c.get('callId'),
      caller: toRecordedName(c.get('caller')),
    })
    const { delivery, functionName, invocationId } = made
    if (invocationId === undefined) return c.json({ delivery, verdict: 'dropped' as const }, 200)
    c.header('Location', `/invocations/${invocationId}`)
    c.header(INVOCATION, invocationId)
    return c.json({ id: invocationId, function: functionName, state: 'queued', delivery }, 202)
  })

  app.openAPIRegistry.registerPath(dryRunHook)
  app.post('/hooks/:name/dry-run', async (c) => {
    const hook = hooks.get(c.req.param('name'))
    return read(c, hook.spec, async (request) => {
      const { refusal, messages } = await hooks.dryRun(hook, asSent(request))
      const told = messages.map((message) => toRunStatus(message))
      const verified =
        refusal === undefined ? { verified: true } : { verified: false, reason: refusal }
      return c.json({ ...verified, bodyBytes: request.body.length, messages: told }, 200)
    })
  })

  refuseOtherMethods(app, '/hooks', 'GET, HEAD')
  refuseOtherMethods(app, '/hooks/:name/deliveries', 'GET, HEAD')
  refuseOtherMethods(app, '/hooks/:name/deliveries/:id', 'GET, HEAD')
  refuseOtherMethods(app, '/hooks/:name/deliveries/:id/redeliver', 'POST')
  refuseOtherMethods(app, '/hooks/:name/dry-run', 'POST')
}

/** Of a dry run: the delivery, without what only brings it here. */
function asSent(request: HookRequest): HookRequest {
  const headers = new Map(request.headers)
  const authorization = headers.get(AUTHORIZATION)
  headers.delete(AUTHORIZATION)
  headers.delete('authorization')
  if (authorization) headers.set('authorization', authorization)
  return { ...request, headers }
}

function toSummary(hook: ListedHook, now: number): HookSummary {
  const { name, spec, trigger, others, isServed } = hook
  const { scheme, mode, events, concurrency, secrets } = trigger
  return {
    name,
    function: spec.name,
    path: `/hook/${name}`,
    provider: scheme.provider,
    mode,
    ...(events && { events: [...events] }),
    ...(concurrency && { concurrency: { max: concurrency.max, policy: concurrency.policy } }),
    secrets: secrets.map(({ notAfter }) =>
      notAfter === undefined ? {} : { notAfter: toTime(notAfter) },
    ),
    served: isServed,
    ...(others.length > 0 && { conflict: toConflict(others, isServed) }),
    warnings: toWarnings(hook, now),
  }
}

function toConflict(others: readonly string[], isServed: boolean): string {
  const names = others.join(', ')
  return isServed
    ? `${names} would have the same name, and get nothing: rename one of them.`
    : `${names} would have the same name, and this one gets nothing: rename one of them.`
}

function toWarnings({ trigger }: ListedHook, now: number): string[] {
  const { secrets } = trigger
  const expired = secrets.filter(({ notAfter = Infinity }) => notAfter < now)
  if (secrets.length === 0) return ['Deliveries are not verified: anyone can send them.']
  if (expired.length === 0) return []
  if (expired.length < secrets.length) return ['A secret is past its notAfter: take it away.']
  return ['All secrets are past their notAfter: every delivery is refused.']
}

function toStatus(delivery: HookDelivery): HookDeliveryStatus {
  const { id, hook, functionName, receivedAt, verdict, detail, event, key } = delivery
  const { headers, bodyBytes, invocationId, redeliveryOf } = delivery
  return {
    id,
    hook,
    function: functionName,
    receivedAt: toTime(receivedAt),
    verdict,
    ...(detail !== undefined && { detail }),
    ...(event !== undefined && { event }),
    ...(key !== undefined && { deliveryId: key }),
    headers: { ...headers },
    bodyBytes,
    ...(invocationId !== undefined && { invocation: invocationId }),
    ...(redeliveryOf !== undefined && { redeliveryOf }),
  }
}

function toRefused(refused: RefusedDelivery): RefusedDeliveryStatus {
  const { receivedAt, ...about } = refused
  return { ...about, verdict: 'refused', receivedAt: toTime(receivedAt) }
}

function showBody(body: Uint8Array) {
  const text = decodeUtf8(body)
  // A byte order mark is left out of a text.
  const isText = text !== undefined && Buffer.byteLength(text) === body.length
  return isText
    ? { encoding: 'utf8' as const, data: text }
    : { encoding: 'base64' as const, data: Buffer.from(body).toString('base64') }
}

function toRunStatus({ event, key, mismatch, isAnswered, first, run }: DryRun): HookRunStatus {
  const told = {
    ...(event !== undefined && { event }),
    deliveryId: key,
    ...(first && {
      duplicateOf: {
        delivery: first.id,
        ...(first.invocationId !== undefined && { id: first.invocationId }),
      },
    }),
  }
  const isWanted = !isAnswered && mismatch === undefined
  const failed = run instanceof OneshotError
  const verdict = isAnswered ? 'answered' : isWanted ? toVerdict(failed, first) : 'skipped'
  const detail = mismatch ?? (failed && isWanted ? run.message : undefined)
  if (failed) {
    const about = detail === undefined ? {} : { detail }
    return { ...told, verdict, ...about, errors: [...run.violations] }
  }
  return {
    ...told,
    verdict,
    ...(detail !== undefined && { detail }),
    parameters: run.parameters,
    environment: { ...run.environment },
    stdinBytes: run.stdin?.length ?? 0,
    ...(run.group && { group: run.group }),
  }
}

function toVerdict(failed: boolean, first: HookDelivery | undefined) {
  if (failed) return 'invalid'
  return first ? 'duplicate' : 'accepted'
}
