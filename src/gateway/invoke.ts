import { setTimeout as sleep } from 'node:timers/promises'
import { toCallback } from '../core/callback.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation, Settled } from '../core/invocation.ts'
import { isSettled, queued, running } from '../core/invocation.ts'
import type { StopReason, TaskResult } from '../core/outcome.ts'
import { toTask } from '../core/task.ts'
import type { Spool, Store } from '../store/store.ts'
import type { Admission, Release } from './admission.ts'
import type { AttemptIo } from './attempt-io.ts'
import type { Attempts, HeldCall } from './attempt.ts'
import type { LiveCalls } from './live.ts'
import { createStop } from './live.ts'

export interface InvokerDeps {
  readonly attempts: Attempts
  readonly admission: Admission
  readonly store: Store
  readonly spool: Spool
  readonly live: LiveCalls
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** The host that answers for a call which reached no engine. */
  readonly node: string
  readonly observer: Observer
}

/** Hears of every call what becomes of it, in the moment after. */
export interface Observer {
  called(spec: FunctionSpec): void
  settled(invocation: Settled): void
  refused(spec: FunctionSpec, error: unknown): void
}

export interface Call {
  readonly spec: FunctionSpec
  readonly parameters: Invocation['parameters']
  readonly io: AttemptIo
  readonly callId?: string
  readonly labels?: readonly string[]
  /** Who called, as `Caller` names him. */
  readonly caller?: string | undefined
  /** Where the request would have the outcome sent. */
  readonly callbackUrl?: string | undefined
  /** From when the deadline counts, in milliseconds since the epoch; unless given, from now. */
  readonly receivedAt?: number
}

/** A call on its way. */
export interface Running {
  readonly id: string
  /** Stops it, in whatever state it is. The first reason wins; after the end it has no effect. */
  stop(reason: StopReason): void
  /**
   * How it ended. Rejects with `parameters_invalid`, `queue_full`, `shutting_down` or `engine_unreachable`: then the command has not started.
   * After that nothing is written to the call's sinks any more.
   */
  readonly end: Promise<Settled>
}

export interface Invoker {
  /** A call whose caller waits on the connection. */
  invoke(call: Call): Running
  /** Takes no more calls; returns when those that run have ended, which after `boundMs` milliseconds they are told to. */
  close(boundMs: number): Promise<void>
}

/** How long the records of calls that have ended may take when the gateway ends. */
const RECORDING_MS = 5_000

/** One call from start to end: admission, then the engine, under one deadline. */
export function createInvoker(deps: InvokerDeps): Invoker {
  const { attempts, admission, store, spool, live, newId, clock, node, observer } = deps
  const calls = new Set<Running>()
  /** Of calls that run, and of those that have ended: what is still to be written of them. */
  const records = new Set<Promise<unknown>>()
  let closed = false

  function invoke(call: Call): Running {
    const { spec, receivedAt = clock() } = call
    const id = newId()
    const { signal, stop } = createStop()
    const deadline = setTimeout(stop, receivedAt + spec.timeoutMs - clock(), 'timed_out')
    const recorder = spool.record(id, spec.limits.logBytes)
    live.add(id, { stop, attempt: 1, recorder })
    const { promise: end, resolve, reject } = Promise.withResolvers<Settled>()
    const known = { id, stop, end: observed(spec, end) }
    calls.add(known)
    const leave = () => calls.delete(known)
    known.end.then(leave, leave)
    const held = { stop: signal, recorder, onEnded: resolve }
    const recorded = proceed(call, id, held, reject)
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(deadline)
        live.remove(id)
        records.delete(recorded)
      })
    records.add(recorded)
    return known
  }

  async function observed(spec: FunctionSpec, end: Promise<Settled>): Promise<Settled> {
    try {
      return await end
    } catch (error) {
      observer.refused(spec, error)
      throw error
    }
  }

  async function proceed(
    { spec, parameters, io, callId, labels, caller, callbackUrl }: Call,
    id: string,
    held: HeldCall & Required<Pick<HeldCall, 'onEnded'>>,
    refuse: (reason: unknown) => void,
  ): Promise<Settled> {
    if (closed) throw toClosed()
    observer.called(spec)
    const callback = toCallback(spec.callback, callbackUrl)
    const invocation = queued(
      {
        id,
        functionName: spec.name,
        mode: 'sync',
        callId: callId ?? id,
        parameters,
        hasInput: io.stdin !== undefined,
        ...(labels && { labels }),
        ...(caller !== undefined && { caller }),
        ...(callback && { callback }),
      },
      clock(),
    )
    // Before it waits: what can't be run is refused at once.
    toTask(spec, invocation)
    await spool.checkRoom()
    const slot = admission.acquire(spec.name, spec.concurrency, held.stop)
    const isWaiting = slot instanceof Promise
    const first = isWaiting ? invocation : running(invocation, clock())
    const added = store.invocations.add(first)
    added.catch(() => {})
    let release: Release
    try {
      release = await slot
    } catch (error) {
      if (!held.stop.aborted) throw error
      await added
      return attempts.settle(invocation, stoppedInQueue(invocation, held.stop.reason), held)
    }
    try {
      const taken = isWaiting ? running(invocation, clock()) : first
      const faults: unknown[] = []
      // An engine that was not there is no end of the function's: the caller is told to try again.
      const isRefused = () => faults.length > 0 && !held.stop.aborted
      const ended = await attempts.run(taken, spec, io, {
        ...held,
        added,
        onFault: (error) => void faults.push(error),
        // The caller need not wait for the record: its container is kept until that is written.
        onEnded(ended) {
          release()
          if (isRefused()) refuse(faults[0])
          else held.onEnded(ended)
        },
      })
      if (isRefused()) throw faults[0]
      if (!isSettled(ended)) throw new Error(`${id} has not come to its end`)
      return ended
    } finally {
      release()
    }
  }

  function stoppedInQueue(invocation: Invocation, by: StopReason): TaskResult {
    const finishedAt = clock()
    const timings = { queueMs: finishedAt - invocation.createdAt }
    return { kind: 'stopped', by, exitCode: null, node, start: 'cold', finishedAt, timings }
  }

  async function close(boundMs: number): Promise<void> {
    closed = true
    const timer = setTimeout(() => {
      for (const call of calls) call.stop('cancelled')
    }, boundMs)
    while (calls.size > 0) await Promise.allSettled([...calls].map(({ end }) => end))
    clearTimeout(timer)
    // What a full disk keeps from being written, the next process finds in the containers.
    const recorded = Promise.all(records)
    await Promise.race([recorded, sleep(RECORDING_MS, undefined, { ref: false })])
  }

  return { invoke, close }
}

export function toClosed(): OneshotError {
  const detail = 'The gateway is shutting down: try again in a moment.'
  return new OneshotError('shutting_down', detail, { retryAfterSeconds: 5 })
}
