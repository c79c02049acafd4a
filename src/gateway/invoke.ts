import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation, Settled } from '../core/invocation.ts'
import { queued, running, settled } from '../core/invocation.ts'
import type { StopReason, TaskResult } from '../core/outcome.ts'
import type { TaskIo } from '../core/task.ts'
import { toTask } from '../core/task.ts'
import type { Engine, TaskStop } from '../engine/engine.ts'
import type { Admission } from './admission.ts'

export interface InvokerDeps {
  readonly engine: Engine
  readonly admission: Admission
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
  readonly io: TaskIo
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
  invoke(call: Call): Running
  isLive(invocationId: string): boolean
  /** Takes no more calls; returns when those that run have ended, which after `boundMs` milliseconds they are told to. */
  close(boundMs: number): Promise<void>
}

/** One call from start to end: admission, then the engine, under one deadline. */
export function createInvoker(deps: InvokerDeps): Invoker {
  const { engine, admission, newId, clock, node, observer } = deps
  const live = new Map<string, Running>()
  let closed = false

  function invoke({ spec, parameters, io, receivedAt = clock() }: Call): Running {
    const id = newId()
    const stopping = new AbortController()
    const stop = (reason: StopReason) => stopping.abort(reason)
    const deadline = setTimeout(stop, receivedAt + spec.timeoutMs - clock(), 'timed_out')
    const invocation = queued(id, spec.name, parameters, clock())
    const end = observed(spec, proceed(spec, invocation, io, stopping.signal)).finally(() => {
      clearTimeout(deadline)
      live.delete(id)
    })
    const call = { id, stop, end }
    live.set(id, call)
    return call
  }

  async function observed(spec: FunctionSpec, end: Promise<Settled>): Promise<Settled> {
    try {
      const invocation = await end
      // The answer comes first.
      setImmediate(() => observer.settled(invocation))
      return invocation
    } catch (error) {
      observer.refused(spec, error)
      throw error
    }
  }

  async function proceed(
    spec: FunctionSpec,
    invocation: Invocation,
    io: TaskIo,
    stop: TaskStop,
  ): Promise<Settled> {
    if (closed) {
      throw new OneshotError(
        'shutting_down',
        'The gateway is shutting down: try again in a moment.',
        {
          retryAfterSeconds: 5,
        },
      )
    }
    observer.called(spec)
    // Before it waits: what can't be run is refused at once.
    const task = toTask(spec, invocation)
    let release: () => void
    try {
      release = await admission.acquire(spec.name, spec.concurrency, stop)
    } catch (error) {
      if (!stop.aborted) throw error
      return settled(invocation, stoppedInQueue(invocation, stop.reason))
    }
    try {
      const taken = running(invocation, clock())
      return settled(taken, await engine.run(task, io, stop))
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
      for (const call of live.values()) call.stop('cancelled')
    }, boundMs)
    while (live.size > 0) await Promise.allSettled([...live.values()].map(({ end }) => end))
    clearTimeout(timer)
  }

  return { invoke, isLive: (id) => live.has(id), close }
}
