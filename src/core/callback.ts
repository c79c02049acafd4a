import { toHostname } from './callback-target.ts'
import type { Settled } from './invocation.ts'

/** Where an outcome is to be sent, and in which form. */
export interface Callback {
  /** `http:` or `https:` */
  readonly url: string
  /** The body: the envelope; stdout as it is; or a CloudEvent that holds the envelope (structured mode). */
  readonly format: 'envelope' | 'raw' | 'cloudevents'
}

/** The host that it goes to, whatever its port. */
export function toHost({ url }: Callback): string {
  return toHostname(new URL(url))
}

/** A body that is read while it is sent: of exactly `length` bytes. */
export interface StreamedBody {
  readonly length: number
  readonly read: () => AsyncIterable<Uint8Array>
}

/** What a definition says of callbacks: their form, and where they go that no request names a place for. */
export interface CallbackDefault {
  readonly url?: string
  readonly format: Callback['format']
}

/** `url` is what the request names. */
export function toCallback(
  byDefault: CallbackDefault | undefined,
  url: string | undefined,
): Callback | undefined {
  const target = url ?? byDefault?.url
  return target === undefined ? undefined : { url: target, format: byDefault?.format ?? 'envelope' }
}

export type DeliveryState = 'pending' | 'delivered' | 'dead'

/** One outcome's way to its receiver. Times are milliseconds since the epoch. */
export interface Delivery {
  /** What the receiver gets as `webhook-id`: the same for each attempt. */
  readonly id: string
  readonly invocationId: string
  readonly functionName: string
  readonly callback: Callback
  readonly state: DeliveryState
  readonly createdAt: number
  /** Pending: it is not to be tried before. */
  readonly dueAt: number
  /** How often it has been tried since it was made, or since it was last asked to be tried again. */
  readonly tries: number
  /** The last 50, oldest first. */
  readonly attempts: readonly DeliveryAttempt[]
}

export interface DeliveryAttempt {
  readonly at: number
  readonly latencyMs: number
  /** The receiver's; absent: it gave none. */
  readonly status?: number
  /** Why it gave none. */
  readonly error?: string
  /** The first 16 KiB of what it answered, as text. */
  readonly answer?: string
}

/** The delivery of an outcome, to be tried at once. */
export function pending(
  id: string,
  { id: invocationId, functionName }: Pick<Settled, 'id' | 'functionName'>,
  callback: Callback,
  now: number,
): Delivery {
  return {
    id,
    invocationId,
    functionName,
    callback,
    state: 'pending',
    createdAt: now,
    dueAt: now,
    tries: 0,
    attempts: [],
  }
}

const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
/** Between a try and the next. */
const DELAYS_MS = [
  5 * SECOND_MS,
  30 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
]
const JITTER = 0.2
/** Statuses that may well be another the next time, besides all from 500 on. */
const PASSING = new Set([408, 425, 429])

/**
 * What has become of a delivery after a try. `retryAfter` is the receiver's header (RFC 9110, 10.2.3); `random` is from 0
 * to 1.
 */
export function tried(
  delivery: Delivery,
  attempt: DeliveryAttempt,
  retryAfter: string | undefined,
  now: number,
  random: number,
): Delivery {
  const { status } = attempt
  const next = withAttempt(delivery, attempt)
  if (status !== undefined && status >= 200 && status < 300) return { ...next, state: 'delivered' }
  const delay = DELAYS_MS[delivery.tries]
  const isPassing = status === undefined || status >= 500 || PASSING.has(status)
  if (!isPassing || delay === undefined) return { ...next, state: 'dead' }
  const jittered = Math.round(delay * (1 + JITTER * (2 * random - 1)))
  const askedMs = Math.min(toWaitMs(retryAfter, now) ?? 0, MAX_ASKED_MS)
  return { ...next, dueAt: now + Math.max(jittered, askedMs) }
}

/** After a try that no other can better. */
export function givenUp(delivery: Delivery, attempt: DeliveryAttempt): Delivery {
  return { ...withAttempt(delivery, attempt), state: 'dead' }
}

/** Each has up to 16 KiB, and may be asked for again for ever. */
const MAX_ATTEMPTS = 50

function withAttempt(delivery: Delivery, attempt: DeliveryAttempt): Delivery {
  const { tries, attempts } = delivery
  return { ...delivery, tries: tries + 1, attempts: [...attempts, attempt].slice(-MAX_ATTEMPTS) }
}

/** No receiver may put its outcome off for longer. */
const MAX_ASKED_MS = 24 * HOUR_MS

function toWaitMs(retryAfter: string | undefined, now: number): number | undefined {
  if (retryAfter === undefined) return undefined
  if (/^\d+$/.test(retryAfter)) return Number(retryAfter) * SECOND_MS
  const at = Date.parse(retryAfter)
  return Number.isNaN(at) ? undefined : at - now
}
