import { createHash } from 'node:crypto'
import type { ConcurrencyGroup, Invocation } from '../core/invocation.ts'
import type { HookAnswer } from '../core/webhook/event.ts'
import type { HookContent, HookRequest } from '../core/webhook/request.ts'
import { parseHookBody } from '../core/webhook/body.ts'
import { readCloudEvents } from '../core/webhook/cloud-event.ts'
import { readDeliveryId } from '../core/webhook/delivery-id.ts'
import { findAnswer, matchesEvents, readEvent, toEventName } from '../core/webhook/event.ts'
import { toHookInput } from '../core/webhook/input.ts'
import { findHeader, toMediaType } from '../core/webhook/request.ts'
import { matchesRule } from '../core/webhook/rule.ts'
import { findSelected } from '../core/webhook/selector.ts'
import type { Hook } from './hook-registry.ts'

/** One of the messages that a request holds: of all but a batch of CloudEvents, the only one. */
export interface HookMessage {
  /** As it would have come on its own. */
  readonly request: HookRequest
  readonly json: unknown
  /** What the command reads, unless it is to read nothing. */
  readonly stdin: Uint8Array
}

/** What is to become of a message. */
export interface HookPlan {
  /** As `events` names it. */
  readonly event: string | undefined
  /** By which another one like it is known. */
  readonly key: string
  /** It is answered, and nothing is run. */
  readonly answer: HookAnswer | undefined
  /** Why nothing is run. */
  readonly mismatch: string | undefined
}

/** What is run for a message. */
export interface HookRun {
  readonly parameters: Invocation['parameters']
  readonly environment: Readonly<Record<string, string>>
  readonly stdin: Uint8Array | undefined
  readonly group: ConcurrencyGroup | undefined
}

const BATCH = 'application/cloudevents-batch+json'
const STRUCTURED = 'application/cloudevents+json'
/** Of a variable's value: the sender's own words are as long as he likes. */
const MAX_VALUE = 512

/** Whether a request holds a list of messages, however many those are. */
export function isBatch({ trigger }: Hook, { headers }: HookRequest): boolean {
  const { provider } = trigger.scheme
  return provider === 'cloudevents' && toMediaType(findHeader(headers, 'content-type')) === BATCH
}

/** Throws `bad_request` for what are no CloudEvents where such are wanted. */
export function readMessages(hook: Hook, request: HookRequest): HookMessage[] {
  const { headers, body } = request
  if (hook.trigger.scheme.provider !== 'cloudevents') {
    const json = parseHookBody(findHeader(headers, 'content-type'), body)
    return [{ request, json, stdin: body }]
  }
  const events = readCloudEvents(request)
  const isList = isBatch(hook, request)
  return events.map(({ json, data = new Uint8Array() }) => {
    const alone = isList ? toStructured(request, json) : request
    return { request: alone, json, stdin: data }
  })
}

function toStructured(request: HookRequest, json: object): HookRequest {
  const headers = new Map(request.headers).set('content-type', [STRUCTURED])
  return { ...request, headers, body: Buffer.from(JSON.stringify(json)) }
}

/** `now` is in milliseconds since the epoch. */
export function planMessage(
  { trigger }: Hook,
  { request, json }: HookMessage,
  now: number,
): HookPlan {
  const { scheme, events, when } = trigger
  const event = readEvent(scheme, request.headers, json)
  const answer = findAnswer(scheme, event, json)
  const isWanted = matchesEvents(events, event)
  // A ping is for the gateway, unless the function says that it is for itself.
  const isAsked = answer && !(answer.kind === 'ping' && events !== undefined && isWanted)
  const content: HookContent = { headers: request.headers, json }
  return {
    event: event && toEventName(event),
    key: readDeliveryId(scheme, request, json, now),
    answer: isAsked ? answer : undefined,
    mismatch: isWanted
      ? when === undefined || matchesRule(when, content)
        ? undefined
        : 'It is not as `when` wants it.'
      : 'Its event is none of `events`.',
  }
}

/** Throws `parameters_invalid`. */
export function toRun(hook: Hook, { request, json, stdin }: HookMessage, plan: HookPlan): HookRun {
  const { name, spec, trigger } = hook
  const content: HookContent = { headers: request.headers, json }
  const { parameters, environment } = toHookInput(trigger.input, spec.parameters, content)
  const hasInput = trigger.input.body === 'raw' && stdin.length > 0
  return {
    parameters,
    environment: {
      ...environment,
      ONESHOT_TRIGGER: 'webhook',
      ONESHOT_HOOK: name,
      ONESHOT_DELIVERY_ID: toValue(plan.key),
      ...(plan.event !== undefined && { ONESHOT_EVENT: toValue(plan.event) }),
    },
    stdin: hasInput ? stdin : undefined,
    group: toGroup(hook, content),
  }
}

/** Those of a webhook among whom nothing is found at `key` are one group as well. */
function toGroup({ name, trigger }: Hook, content: HookContent): ConcurrencyGroup | undefined {
  const { concurrency } = trigger
  if (!concurrency) return undefined
  const { key, max } = concurrency
  if (!key) return { key: `hook:${name}`, max }
  const values = findSelected(key, content) ?? []
  const digest = createHash('sha256').update(JSON.stringify(values)).digest('hex')
  return { key: `hook:${name}:${digest.slice(0, 32)}`, max }
}

/** No variable can hold a NUL. */
function toValue(text: string): string {
  return text.replaceAll('\0', '').slice(0, MAX_VALUE)
}
