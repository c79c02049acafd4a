import type { Logger } from 'pino'
import type { Delivery, DeliveryAttempt, DeliveryState, StreamedBody } from '../core/callback.ts'
import { givenUp, toHost, tried } from '../core/callback.ts'
import { OneshotError } from '../core/error.ts'
import { isSettled } from '../core/invocation.ts'
import type { Page } from '../store/store.ts'
import type { MessageDeps } from './callback-message.ts'
import { composeMessage } from './callback-message.ts'

/** One POST. Rejects with an error whose message may be shown. */
export type Send = (request: {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | StreamedBody
  readonly signal: AbortSignal
}) => Promise<{
  readonly status: number
  readonly retryAfter?: string | undefined
  readonly answer: string
  readonly latencyMs: number
}>

export interface DelivererDeps extends MessageDeps {
  readonly send: Send
  readonly clock: () => number
  /** From 0 to 1. */
  readonly random: () => number
  readonly logger: Logger
}

/** Brings outcomes to where they are wanted. */
export interface Deliverer {
  start(): void
  /** It is on record, and due. */
  added(delivery: Delivery): void
  /** Throws `delivery_not_found`. */
  get(id: string): Promise<Delivery>
  list(
    filter: { readonly state?: DeliveryState; readonly invocationId?: string },
    page: Page,
  ): Promise<readonly Delivery[]>
  /** Begins anew, with all its tries, once a try that is under way is over. */
  retry(id: string): Promise<Delivery>
  /** Breaks off what is under way: it is tried again by the next process. */
  close(): Promise<void>
}

interface Try {
  readonly attempt: DeliveryAttempt
  /** The receiver's header. */
  readonly retryAfter?: string | undefined
  /** No other can come to a better end. */
  readonly isFinal?: boolean
}

/** As many at once: each may hold its body. */
const MAX_SENDING = 16
/** To one host: others get their turn, however many wait for one that hangs. */
const MAX_PER_HOST = 4
/** What is under way is listed too, as it is still due: this leaves enough besides it to take all that is free. */
const LISTED = 2 * MAX_SENDING
const RETRY_MS = 1_000
const MAX_TIMER_MS = 2 ** 31 - 1

export function createDeliverer(deps: DelivererDeps): Deliverer {
  const { store, send, clock, random, logger } = deps
  /** The hosts of those that are being tried, by their ids. */
  const sending = new Map<string, string>()
  /** Who has a delivery, to try it or to renew it, writes it: one at a time. */
  const held = new Map<string, Promise<unknown>>()
  const closing = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let again = false
  let started = false

  /** Something may be due that can be sent. */
  function wake(): void {
    if (!started || closing.signal.aborted) return
    again = true
    looking ??= look()
  }

  async function look(): Promise<void> {
    while (again && !closing.signal.aborted) {
      again = false
      clearTimeout(timer)
      try {
        // What falls due from here on is what comes next, however long the look takes.
        const now = clock()
        await startDue(now)
        const next = await store.deliveries.findNextDue(now)
        if (next !== undefined) {
          timer = setTimeout(wake, Math.min(Math.max(next - clock(), 1), MAX_TIMER_MS))
        }
      } catch (error) {
        logger.error({ err: error }, 'reading the deliveries failed')
        timer = setTimeout(wake, RETRY_MS)
      }
    }
    looking = undefined
  }

  /** What is left out for want of a place is looked for again when one is free. */
  async function startDue(now: number): Promise<void> {
    for (let isMore = true; isMore && sending.size < MAX_SENDING;) {
      const busy = [...new Set(sending.values())].filter((host) => !hasRoom(host))
      const due = await store.deliveries.listDue(now, LISTED, busy)
      if (closing.signal.aborted) return
      const before = sending.size
      for (const { id, host } of due) if (!held.has(id) && hasRoom(host)) start(id, host)
      // It may have been one host's alone.
      isMore = due.length === LISTED && sending.size > before
    }
  }

  function hasRoom(host: string): boolean {
    if (sending.size >= MAX_SENDING) return false
    return [...sending.values()].filter((it) => it === host).length < MAX_PER_HOST
  }

  function start(id: string, host: string): void {
    sending.set(id, host)
    void hold(id, async () => {
      await deliver(id)
      sending.delete(id)
    })
  }

  /** Nobody may have it. */
  function hold<T>(id: string, act: () => Promise<T>): Promise<T> {
    const holding = act().finally(() => {
      held.delete(id)
      wake()
    })
    held.set(
      id,
      holding.catch(() => {}),
    )
    return holding
  }

  async function deliver(id: string): Promise<void> {
    try {
      const delivery = await store.deliveries.find(id)
      // It may have been renewed, or tried to its end, since it was listed.
      if (delivery?.state !== 'pending' || delivery.dueAt > clock()) return
      const { attempt, retryAfter, isFinal = false } = await post(delivery)
      if (closing.signal.aborted && attempt.status === undefined) return
      const next = isFinal
        ? givenUp(delivery, attempt)
        : tried(delivery, attempt, retryAfter, clock(), random())
      if (!(await write(next))) return
      const about = { delivery: next.id, invocation: next.invocationId, status: attempt.status }
      if (next.state === 'dead')
        logger.warn({ ...about, error: attempt.error }, 'callback given up')
      else logger.debug({ ...about, state: next.state }, 'callback tried')
    } catch (error) {
      logger.error({ err: error, delivery: id }, 'a callback could not be tried')
      await pause()
    }
  }

  /** What was sent is not sent again for want of room to write it down: that is tried until it is done, or until the end. */
  async function write(delivery: Delivery): Promise<boolean> {
    for (let isFirst = true; ; isFirst = false) {
      try {
        await store.deliveries.update(delivery)
        return true
      } catch (error) {
        const about = { err: error, delivery: delivery.id }
        if (isFirst) logger.error(about, 'a callback could not be written down')
        if (closing.signal.aborted) return false
        await pause()
      }
    }
  }

  /** Until the next try, or the end. */
  async function pause(): Promise<void> {
    const { signal } = closing
    if (signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const end = () => resolve()
    signal.addEventListener('abort', end)
    const timer = setTimeout(end, RETRY_MS)
    await promise
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
  }

  async function post(delivery: Delivery): Promise<Try> {
    const invocation = await store.invocations.find(delivery.invocationId)
    const at = clock()
    if (!invocation || !isSettled(invocation)) {
      return { attempt: { at, latencyMs: 0, error: 'its invocation is gone' }, isFinal: true }
    }
    const { signal } = closing
    const message = await composeMessage(deps, delivery, invocation, at, signal).catch(
      (error: unknown) => {
        if (signal.aborted) return
        logger.error({ err: error, delivery: delivery.id }, 'a callback could not be made')
      },
    )
    if (!message) {
      return { attempt: { at, latencyMs: 0, error: 'its output could not be read' } }
    }
    try {
      const answered = await send({ url: delivery.callback.url, ...message, signal })
      const { status, latencyMs, answer, retryAfter } = answered
      return { attempt: { at, latencyMs, status, answer }, retryAfter }
    } catch (error) {
      const latencyMs = clock() - at
      return { attempt: { at, latencyMs, error: (error as Error).message } }
    }
  }

  async function get(id: string): Promise<Delivery> {
    const found = await store.deliveries.find(id)
    if (found) return found
    const detail = `There is no delivery ${JSON.stringify(id)}: GET /deliveries lists them.`
    throw new OneshotError('delivery_not_found', detail)
  }

  return {
    start() {
      started = true
      wake()
    },
    added({ callback }) {
      // Without room the end of a try looks for it: then it costs nothing how many wait.
      if (hasRoom(toHost(callback))) wake()
    },
    get,
    list: (filter, page) => store.deliveries.list(filter, page),
    async retry(id) {
      while (held.has(id)) await held.get(id)
      return hold(id, async () => {
        const delivery = await get(id)
        const renewed: Delivery = { ...delivery, state: 'pending', dueAt: clock(), tries: 0 }
        await store.deliveries.update(renewed)
        return renewed
      })
    },
    async close() {
      closing.abort()
      await looking
      clearTimeout(timer)
      await Promise.all(held.values())
    },
  }
}
