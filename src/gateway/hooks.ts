import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import type { HookDelivery } from '../core/webhook/delivery.ts'
import type { HookAnswer } from '../core/webhook/event.ts'
import type { RefusalReason } from '../core/webhook/refusal.ts'
import type { HookRequest } from '../core/webhook/request.ts'
import { fromRecordedHeaders, redactHeaders } from '../core/webhook/redact.ts'
import { verifyDelivery } from '../core/webhook/verify.ts'
import type { Page, Store } from '../store/store.ts'
import type { Acceptor, Triggered } from './accept.ts'
import type { HookMessage, HookPlan, HookRun } from './hook-plan.ts'
import { planMessage, readMessages, toRun } from './hook-plan.ts'
import type { RecordedDelivery } from './hook-records.ts'
import { createHookRecords } from './hook-records.ts'
import type { HookRefusals, RefusedDelivery } from './hook-refusals.ts'
import { createHookRefusals } from './hook-refusals.ts'
import type { Hook, HookRegistry } from './hook-registry.ts'

export interface HooksDeps {
  readonly registry: HookRegistry
  readonly store: Store
  readonly acceptor: Acceptor
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly logger: Logger
}

/** Of the request that brings a delivery, beside what it says. */
export interface HookArrival {
  readonly callId: string
  /** Where it comes from. */
  readonly address: string
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
}

/** What became of a message. `delivery` is the id of its record. */
export type Received = { readonly delivery: string } & (
  | { readonly verdict: 'accepted'; readonly invocationId: string }
  | { readonly verdict: 'duplicate'; readonly first: HookDelivery }
  | { readonly verdict: 'skipped' | 'dropped'; readonly detail: string }
  | { readonly verdict: 'answered'; readonly answer: HookAnswer }
  | { readonly verdict: 'invalid'; readonly error: OneshotError }
)

/** What would become of a message. */
export interface DryRun extends Omit<HookPlan, 'answer'> {
  readonly isAnswered: boolean
  /** The one like it that has come before. */
  readonly first: HookDelivery | undefined
  /** Or why nothing can be run. */
  readonly run: HookRun | OneshotError
}

/** Webhooks, and what comes to them. */
export interface Hooks extends HookRegistry {
  /**
   * Verifies a request, then makes an invocation of each of its messages that is wanted and new. Rejects with `signature_invalid` and `bad_request`, and then
   * nothing of it is kept; and with `queue_full`, `shutting_down` and `storage_full`: what of it was taken in is known as a duplicate when it comes again.
   */
  receive(hook: Hook, request: HookRequest, arrival: HookArrival): Promise<readonly Received[]>
  /** Nothing is run or kept. Rejects with `bad_request`. */
  dryRun(
    hook: Hook,
    request: HookRequest,
  ): Promise<{ readonly refusal: RefusalReason | undefined; readonly messages: readonly DryRun[] }>
  /**
   * Makes an invocation of what is on record, whatever `events` and `when` say. Rejects with `hook_delivery_not_found`, `body_not_kept`, `parameters_invalid`, and what
   * the acceptor does.
   */
  redeliver(hook: string, id: string, by: Redeliverer): Promise<Redelivered>
  /** Rejects with `hook_delivery_not_found`. The body is undefined if it is not kept. */
  getDelivery(hook: string, id: string): Promise<RecordedDelivery>
  /** Newest first. */
  listDeliveries(hook: string, page: Page): Promise<readonly HookDelivery[]>
  /** Newest first; they are on no record. */
  listRefused(hook: string): readonly RefusedDelivery[]
}

interface Redeliverer {
  readonly callId: string
  readonly caller?: string | undefined
}

export interface Redelivered {
  readonly delivery: string
  readonly functionName: string
  /** Undefined: too many were under way, and it was dropped. */
  readonly invocationId: string | undefined
}

export function createHooks(deps: HooksDeps): Hooks {
  const { registry, store, acceptor, newId, clock, logger } = deps
  const refusals: HookRefusals = createHookRefusals()
  const records = createHookRecords({ hooks: store.hooks, logger })

  async function receive(
    hook: Hook,
    request: HookRequest,
    arrival: HookArrival,
  ): Promise<readonly Received[]> {
    const verified = verifyDelivery(hook.trigger, request, arrival.receivedAt)
    if (!verified.ok) refuse(hook, request, arrival, verified.reason)
    const received: Received[] = []
    // One after another: a batch that names one event twice makes one invocation of it.
    for (const message of readMessages(hook, request)) {
      const one = await receiveOne(hook, message, arrival)
      const { verdict, delivery } = one
      const made = verdict === 'accepted' ? { invocation: one.invocationId } : {}
      const about = { hook: hook.name, delivery, verdict, ...made, callId: arrival.callId }
      logger.info(about, 'delivery received')
      received.push(one)
    }
    return received
  }

  function refuse(
    { name }: Hook,
    { body }: HookRequest,
    { callId, address, receivedAt }: HookArrival,
    reason: RefusalReason,
  ): never {
    const refused = { id: newId(), hook: name, receivedAt, reason, address, callId }
    refusals.add({ ...refused, bodyBytes: body.length })
    logger.info({ hook: name, reason, address, callId }, 'delivery refused')
    throw new OneshotError('signature_invalid', NOT_SIGNED)
  }

  async function receiveOne(
    hook: Hook,
    message: HookMessage,
    arrival: HookArrival,
  ): Promise<Received> {
    const plan = planMessage(hook, message, arrival.receivedAt)
    const record = toRecord(hook, message, plan, arrival.receivedAt)
    const { id: delivery } = record
    const { body } = message.request
    const { answer, mismatch } = plan
    if (answer) {
      await records.note({ ...record, verdict: 'answered', detail: `It was a ${answer.kind}.` })
      return { delivery, verdict: 'answered', answer }
    }
    if (mismatch !== undefined) {
      await records.note({ ...record, verdict: 'skipped', detail: mismatch }, body)
      return { delivery, verdict: 'skipped', detail: mismatch }
    }
    const made = { ...record, key: plan.key }
    let triggered: Triggered
    try {
      triggered = await accept(hook, toRun(hook, message, plan), {
        callId: arrival.callId,
        record: made,
        body: await records.pack(body),
      })
    } catch (error) {
      if (!(error instanceof OneshotError) || error.code !== 'parameters_invalid') throw error
      await records.note({ ...record, verdict: 'invalid', detail: error.message }, body)
      return { delivery, verdict: 'invalid', error }
    }
    switch (triggered.kind) {
      case 'accepted':
        return { delivery, verdict: 'accepted', invocationId: triggered.id }
      case 'duplicate': {
        const { first } = triggered
        const { id, invocationId } = first
        const repeated = invocationId === undefined ? {} : { invocationId }
        const detail = `${id} was the first.`
        await records.note({ ...record, verdict: 'duplicate', detail, ...repeated })
        return { delivery, verdict: 'duplicate', first }
      }
      case 'dropped':
        return { delivery, verdict: 'dropped', detail: DROPPED }
      case 'ticked':
        throw new Error('a delivery was taken for a tick of a schedule')
    }
  }

  async function accept(
    { name, spec, trigger }: Hook,
    { parameters, environment, stdin, group }: HookRun,
    made: Redeliverer & { readonly record: HookDelivery; readonly body: Uint8Array | undefined },
  ): Promise<Triggered> {
    const { callId, caller, record, body } = made
    const triggered = await acceptor.acceptTriggered({
      spec,
      parameters,
      environment,
      input: stdin && once(stdin),
      callId,
      caller,
      labels: [`hook:${name}`],
      trigger: { type: 'webhook', name },
      group,
      ...(trigger.concurrency && { overlap: trigger.concurrency.policy }),
      delivery: { record, ...(body && { body }) },
    })
    if (triggered.kind !== 'duplicate') records.added(body)
    return triggered
  }

  function toRecord(
    { name, spec, trigger }: Hook,
    { request }: HookMessage,
    { event }: Pick<HookPlan, 'event'>,
    receivedAt: number,
  ): HookDelivery {
    return {
      id: newId(),
      hook: name,
      functionName: spec.name,
      receivedAt,
      verdict: 'accepted',
      ...(event !== undefined && { event }),
      headers: redactHeaders(request.headers, trigger.scheme),
      bodyBytes: request.body.length,
    }
  }

  async function dryRun(hook: Hook, request: HookRequest): ReturnType<Hooks['dryRun']> {
    const now = clock()
    const verified = verifyDelivery(hook.trigger, request, now)
    const messages: DryRun[] = []
    for (const message of readMessages(hook, request)) {
      const { answer, ...plan } = planMessage(hook, message, now)
      messages.push({
        ...plan,
        isAnswered: answer !== undefined,
        first: await store.hooks.findByKey(hook.name, plan.key),
        run: tryRun(hook, message, { ...plan, answer }),
      })
    }
    return { refusal: verified.ok ? undefined : verified.reason, messages }
  }

  async function redeliver(name: string, id: string, by: Redeliverer): Promise<Redelivered> {
    const hook = registry.get(name)
    const { delivery: former, body } = await records.get(name, id)
    if (!body) {
      const detail = 'Its body is not kept, or not any more: have the sender send it again.'
      throw new OneshotError('body_not_kept', detail)
    }
    const headers = fromRecordedHeaders(former.headers)
    const [message] = readMessages(hook, { headers, query: new URLSearchParams(), body })
    if (!message) throw new OneshotError('bad_request', 'It holds no event: nothing can be run.')
    const now = clock()
    const planned = planMessage(hook, message, now)
    const plan = { ...planned, key: former.key ?? planned.key }
    const record = { ...toRecord(hook, message, plan, now), redeliveryOf: id }
    const run = toRun(hook, message, plan)
    const triggered = await accept(hook, run, { ...by, record, body: await records.pack(body) })
    const invocationId = triggered.kind === 'accepted' ? triggered.id : undefined
    return { delivery: record.id, functionName: hook.spec.name, invocationId }
  }

  return {
    ...registry,
    receive,
    dryRun,
    redeliver,
    getDelivery: records.get,
    listDeliveries: (hook, page) => store.hooks.list(hook, page),
    listRefused: refusals.list,
  }
}

const NOT_SIGNED =
  'This delivery is not signed as the webhook wants it: check that both sides have the same secret. The log of the gateway tells more.'
const DROPPED = 'As many are under way as `concurrency` allows.'

function tryRun(hook: Hook, message: HookMessage, plan: HookPlan): HookRun | OneshotError {
  try {
    return toRun(hook, message, plan)
  } catch (error) {
    if (error instanceof OneshotError) return error
    throw error
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
