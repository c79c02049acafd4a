import type { Logger } from 'pino'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation } from '../core/invocation.ts'
import { running } from '../core/invocation.ts'
import type { Failure, StopReason, TaskResult } from '../core/outcome.ts'
import type { Spool, Store, StoredInput } from '../store/store.ts'
import type { Admission, Release } from './admission.ts'
import type { Attempts, HeldCall } from './attempt.ts'
import type { LiveCalls } from './live.ts'
import { createStop } from './live.ts'

export interface WorkerDeps {
  readonly store: Store
  readonly spool: Spool
  readonly admission: Admission
  readonly attempts: Attempts
  readonly live: LiveCalls
  /** A `Failure`: it can't be run. */
  readonly findSpec: (functionName: string) => FunctionSpec | Failure
  readonly clock: () => number
  readonly node: string
  readonly logger: Logger
}

/** Runs what was accepted and nobody waits for. */
export interface Worker {
  /** Begins, with what a former process had left. */
  start(): Promise<void>
  /** One more is in the store. */
  added(): void
  /** Something may be due. */
  wake(): void
  /** Nothing is taken on until `time`, in milliseconds since the epoch. */
  pause(time: number): void
  /** How many wait. */
  queued(): number
  /** Stops an invocation that still waits: its end is then on record. False: it does not wait. */
  cancelQueued(id: string): Promise<boolean>
  /** Takes nothing more on. */
  close(): void
}

/** How soon what could not be read from the store is asked for again. */
const RETRY_MS = 1_000
const MAX_TIMER_MS = 2 ** 31 - 1
/** What has waited for too long is brought to its end so many at a time. */
const MAX_EXPIRING = 64

export function createWorker(deps: WorkerDeps): Worker {
  const { store, spool, admission, attempts, live, findSpec, clock, node, logger } = deps
  let started = false
  let closed = false
  /** What was taken before `added` told of it is counted first down, then up. */
  let queued = 0
  let isPumping = false
  let again = false
  let timer: NodeJS.Timeout | undefined
  /** What was taken last: the functions after it come first in the next round. */
  let last = ''
  /** How many are on their way to their end without having been run. */
  let settling = 0
  let isGivingBack = false
  let pausedUntil: number | undefined

  function wake(): void {
    if (closed || !started) return
    again = true
    if (!isPumping) void pump()
  }

  /** Never rejects. It looks for what may have come and says that it is done in one go: nothing comes in between. */
  async function pump(): Promise<void> {
    isPumping = true
    while (again) {
      if (closed) break
      again = false
      if (pausedUntil !== undefined && clock() >= pausedUntil) pausedUntil = undefined
      try {
        // What falls due from here on is what comes next, however long the look takes.
        let now = clock()
        while (await round(now)) now = clock()
        const next = await findNextTime(now)
        clearTimeout(timer)
        if (next < Infinity && !closed) {
          timer = setTimeout(wake, Math.min(Math.max(next - clock(), 1), MAX_TIMER_MS))
        }
      } catch (error) {
        logger.error({ err: error }, 'taking from the queue failed')
        // Giving its slot back has woken this up: a disk that is full would be tried without a pause.
        again = false
        clearTimeout(timer)
        if (!closed) timer = setTimeout(wake, RETRY_MS)
      }
    }
    isPumping = false
  }

  async function findNextTime(now: number): Promise<number> {
    const due = pausedUntil ?? (await store.invocations.findNextDue(now))
    const expiry = await store.invocations.findNextExpiry(now)
    return Math.min(due ?? Infinity, expiry === undefined ? Infinity : expiry + 1)
  }

  /** Ends what has waited for too long; and of each function that has something due and room for it, takes one. False if there was nothing. */
  async function round(now: number): Promise<boolean> {
    if (await expire(now)) return true
    const names = await store.invocations.listDueFunctions(now)
    const first = names.findIndex((name) => name > last)
    const inTurn = first < 0 ? names : [...names.slice(first), ...names.slice(0, first)]
    let took = false
    for (const name of inTurn) {
      if (closed || pausedUntil !== undefined) break
      if (await takeOne(name, now)) took = true
    }
    return took
  }

  /** Whether or not there is room for it, or its definition is broken. */
  async function expire(now: number): Promise<boolean> {
    const expired = await store.invocations.listExpired(now, MAX_EXPIRING)
    const left = expired.filter(({ id }) => !live.find(id))
    const detail = "It has waited for longer than the function's maxAge allows."
    const failure: Failure = { code: 'expired', detail }
    await Promise.all(left.map((it) => settleUnrun(it, { kind: 'not_started', failure })))
    return left.length > 0
  }

  async function takeOne(name: string, now: number): Promise<boolean> {
    const found = findSpec(name)
    if (!('container' in found)) {
      // It may be corrected: what waits for it is not lost.
      if (found.code === 'function_broken') return false
      const due = await findDue(name, now)
      if (due) await settleUnrun(due, { kind: 'not_started', failure: found })
      return due !== undefined
    }
    const release = admission.tryAcquire(name, found.concurrency)
    if (!release) return false
    let isTaken = false
    try {
      const due = await findDue(name, now)
      if (!due) return false
      last = name
      await take(due, found, release)
      isTaken = true
      return true
    } finally {
      if (!isTaken) giveBack(release)
    }
  }

  /** A slot that was not made use of is no news to the queue: looking again for it would never end. */
  function giveBack(release: Release): void {
    isGivingBack = true
    release()
    isGivingBack = false
  }

  /** What has been due for longest and is in nobody's hands. */
  async function findDue(name: string, now: number): Promise<Invocation | undefined> {
    const due = await store.invocations.listDue(name, now, 1 + settling)
    return due.find(({ id }) => !live.find(id))
  }

  async function take(due: Invocation, spec: FunctionSpec, release: Release): Promise<void> {
    const { signal, stop } = createStop()
    const recorder = spool.record(due.id, spec.limits.logBytes)
    const taken = running(due, clock())
    live.add(due.id, { stop, attempt: taken.attempts.length, recorder })
    try {
      await store.invocations.update(taken)
    } catch (error) {
      live.remove(due.id)
      throw error
    }
    queued -= 1
    void run(taken, spec, { stop: signal, recorder }).finally(release)
  }

  async function run(taken: Invocation, spec: FunctionSpec, held: HeldCall): Promise<void> {
    const deadline = setTimeout(() => live.find(taken.id)?.stop('timed_out'), spec.timeoutMs)
    try {
      const input = taken.hasInput ? await store.invocations.findInput(taken.id) : undefined
      const stdin = taken.hasInput ? readInput(taken.id, input) : undefined
      await attempts.run(taken, spec, { stdin }, held)
    } catch (error) {
      logger.error({ err: error, invocation: taken.id }, 'an invocation could not be run')
      const failure: Failure = { code: 'internal', detail: 'The input could not be read again.' }
      const ended = { node, start: 'cold', finishedAt: clock(), timings: {} } as const
      await attempts.end(taken, spec, { kind: 'not_started', failure, ...ended }, held)
    } finally {
      clearTimeout(deadline)
    }
  }

  async function* readInput(id: string, input: StoredInput | undefined) {
    if (!input) throw new Error('its input is not in the store')
    yield* spool.readInput(id, input)
  }

  async function settleUnrun(
    invocation: Invocation,
    end:
      | { readonly kind: 'not_started'; readonly failure: Failure }
      | { readonly kind: 'stopped'; readonly by: StopReason; readonly exitCode: null },
  ): Promise<void> {
    const finishedAt = clock()
    const timings = { queueMs: finishedAt - invocation.dueAt }
    const result: TaskResult = { ...end, node, start: 'cold', finishedAt, timings }
    const recorder = spool.record(invocation.id, 0)
    live.add(invocation.id, { stop: () => {}, attempt: invocation.attempts.length, recorder })
    queued -= 1
    settling += 1
    await attempts.settle(invocation, result, { recorder })
    settling -= 1
  }

  async function cancelQueued(id: string): Promise<boolean> {
    const found = await store.invocations.find(id)
    if (found?.state !== 'queued' || live.find(id)) return false
    await settleUnrun(found, { kind: 'stopped', by: 'cancelled', exitCode: null })
    return true
  }

  admission.onRoom(() => {
    if (!isGivingBack) wake()
  })

  return {
    async start() {
      queued = await store.invocations.countQueued()
      started = true
      wake()
    },
    added() {
      queued += 1
      wake()
    },
    wake,
    pause(time) {
      pausedUntil = time
    },
    queued: () => Math.max(queued, 0),
    cancelQueued,
    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}
