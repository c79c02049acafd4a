import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { Envelope } from '../core/envelope.ts'
import { OneshotError } from '../core/error.ts'
import { isSettled } from '../core/invocation.ts'
import { toAnswerLimitMs } from '../core/webhook/answer-limit.ts'
import { answerHandshake } from '../core/webhook/handshake.ts'
import { toHookHeaders } from '../core/webhook/request.ts'
import { isBatch } from '../gateway/hook-plan.ts'
import type { Hook } from '../gateway/hook-registry.ts'
import type { Hooks, Received } from '../gateway/hooks.ts'
import type { Invocations } from '../gateway/invocations.ts'
import { toClosed } from '../gateway/invoke.ts'
import type { Metrics } from '../gateway/metrics.ts'
import { CALL_ID, INVOCATION } from './answer.ts'
import type { Env } from './app.ts'
import { during } from './during.ts'
import type { DeliveryReader } from './hook-request.ts'
import { refuseOtherMethods } from './methods.ts'
import type { HookResult } from './openapi-hooks.ts'
import { askWebhook, receiveDelivery } from './openapi-hooks.ts'
import { answerStored, preferredForm } from './stored-answer.ts'

export interface HookRouteDeps {
  readonly hooks: Hooks
  readonly invocations: Invocations
  readonly engine: Envelope['engine']
  readonly metrics: Metrics
  readonly isClosing: () => boolean
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** The id of the delivery's record. */
const DELIVERY = 'X-Oneshot-Delivery-Id'
const DUPLICATE = 'X-Oneshot-Duplicate'
/** Of the provider's limit, for the way back. */
const MARGIN_MS = 500

/** `POST /hook/NAME`, and `OPTIONS` for CloudEvents. */
export function mountHook(app: OpenAPIHono<Env>, deps: HookRouteDeps, read: DeliveryReader) {
  const { hooks, metrics, isClosing } = deps
  app.openAPIRegistry.registerPath(receiveDelivery)
  app.openAPIRegistry.registerPath(askWebhook)

  app.post('/hook/:name', async (c) => {
    if (isClosing()) throw toClosed()
    const hook = hooks.get(c.req.param('name'))
    const arrival = {
      callId: c.get('callId'),
      address: c.get('address'),
      receivedAt: c.get('receivedAt'),
    }
    const { received, isList } = await read(c, hook.spec, async (request) => ({
      received: await hooks.receive(hook, request, arrival),
      isList: isBatch(hook, request),
    })).catch((error: unknown) => {
      const isRefused = error instanceof OneshotError && error.code === 'signature_invalid'
      metrics.delivered(hook.name, isRefused ? 'refused' : 'failed')
      throw error
    })
    for (const { verdict } of received) metrics.delivered(hook.name, verdict)
    const [only] = received
    return isList || !only ? answerBatch(c, received) : answer(deps, c, hook, only)
  })

  app.options('/hook/:name', (c) => {
    const { trigger } = hooks.get(c.req.param('name'))
    if (trigger.scheme.provider !== 'cloudevents') {
      c.header('Allow', 'POST')
      const detail = 'Only webhooks for CloudEvents are asked by OPTIONS: this one takes POST.'
      throw new OneshotError('method_not_allowed', detail)
    }
    return c.body(null, 200, answerHandshake(toHookHeaders(c.env.incoming.rawHeaders)))
  })

  refuseOtherMethods(app, '/hook/:name', 'POST')
}

async function answer(
  deps: HookRouteDeps,
  c: Context<Env>,
  hook: Hook,
  received: Received,
): Promise<Response> {
  c.header(DELIVERY, received.delivery)
  switch (received.verdict) {
    case 'accepted':
      return answerAccepted(deps, c, hook, received)
    case 'duplicate': {
      const { invocationId } = received.first
      c.header(DUPLICATE, 'true')
      if (invocationId !== undefined) {
        c.header('Location', `/invocations/${invocationId}`)
        c.header(INVOCATION, invocationId)
      }
      return c.json(toResult(received), 200)
    }
    case 'skipped':
    case 'dropped':
      return c.json(toResult(received), 200)
    case 'answered':
      return received.answer.kind === 'ping'
        ? c.json({ pong: true }, 200)
        : c.text(received.answer.text, 200)
    case 'invalid':
      throw received.error
  }
}

/** At once; or, with `mode: sync`, as soon as it has ended, if that is within what its sender waits for. */
async function answerAccepted(
  { invocations, engine, clock }: HookRouteDeps,
  c: Context<Env>,
  { spec, trigger }: Hook,
  { delivery, invocationId: id }: Extract<Received, { readonly verdict: 'accepted' }>,
): Promise<Response> {
  const { outgoing } = c.env
  const answerBy = c.get('receivedAt') + toAnswerLimitMs(trigger.scheme) - MARGIN_MS
  const waitMs = trigger.mode === 'sync' ? answerBy - clock() : 0
  const invocation = await invocations.wait(id, during(outgoing, waitMs))
  if (waitMs > 0 && isSettled(invocation)) {
    outgoing.setHeader(CALL_ID, c.get('callId'))
    outgoing.setHeader(DELIVERY, delivery)
    const form = preferredForm(spec)
    return answerStored(invocation, form, { outgoing, invocations, engine, spec })
  }
  c.header('Location', `/invocations/${id}`)
  c.header(INVOCATION, id)
  return c.json({ id, function: spec.name, state: invocation.state, delivery }, 202)
}

/** What became of each, in their order. None of them is waited for. */
function answerBatch(c: Context<Env>, received: readonly Received[]): Response {
  const isAccepted = received.some(({ verdict }) => verdict === 'accepted')
  return c.json({ deliveries: received.map(toResult) }, isAccepted ? 202 : 200)
}

function toResult(received: Received): HookResult {
  const { delivery, verdict } = received
  switch (verdict) {
    case 'accepted':
      return { delivery, verdict, id: received.invocationId }
    case 'duplicate': {
      const { id: first, invocationId } = received.first
      const detail = `${first} was the first.`
      return { delivery, verdict, detail, ...(invocationId !== undefined && { id: invocationId }) }
    }
    case 'skipped':
    case 'dropped':
      return { delivery, verdict, detail: received.detail }
    case 'answered':
      return { delivery, verdict }
    case 'invalid': {
      const { message: detail, violations } = received.error
      return { delivery, verdict, detail, errors: [...violations] }
    }
  }
}
