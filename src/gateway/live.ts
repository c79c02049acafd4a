import { EventEmitter, once } from 'node:events'
import type { StopReason } from '../core/outcome.ts'
import type { TaskProgress } from '../core/task.ts'
import type { TaskStop } from '../engine/engine.ts'
import type { Recorder } from '../store/store.ts'

/** A call that this process has in its hands. */
export interface LiveCall {
  /** The first reason wins; after the end it has no effect. */
  stop(reason: StopReason): void
  /** The number of the attempt that `recorder` records. */
  readonly attempt: number
  readonly recorder: Recorder
}

/** How far an attempt has come, as far as the engine tells. */
export interface Progress extends TaskProgress {
  /** When its command started, in milliseconds since the epoch. */
  readonly startedAt?: number
}

export interface LiveCalls {
  add(id: string, call: LiveCall): void
  find(id: string): LiveCall | undefined
  /** Its end, or its next attempt's queueing, is on record. */
  remove(id: string): void
  has(id: string): boolean
  /** Fulfilled once a call has come into this process's hands, or has left them with its record changed, or at the signal. */
  changed(id: string, signal: AbortSignal): Promise<void>
  /** What the engine says of an attempt, in place of what it said before. Nobody is woken. */
  progressed(id: string, attempt: number, progress: TaskProgress): void
  /** The command of an attempt has started. */
  started(id: string, attempt: number, at: number): void
  /** Undefined of any attempt but the one at hand. */
  findProgress(id: string, attempt: number): Progress | undefined
  isIdle(): boolean
}

export function createLiveCalls(): LiveCalls {
  const calls = new Map<string, LiveCall>()
  const progresses = new Map<string, Progress>()
  const changes = new EventEmitter()
  changes.setMaxListeners(0)

  function findProgress(id: string, attempt: number): Progress | undefined {
    const call = calls.get(id)
    return call?.attempt === attempt ? (progresses.get(id) ?? {}) : undefined
  }

  return {
    add(id, call) {
      calls.set(id, call)
      changes.emit(id)
    },
    find: (id) => calls.get(id),
    remove(id) {
      calls.delete(id)
      progresses.delete(id)
      changes.emit(id)
    },
    has: (id) => calls.has(id),
    async changed(id, signal) {
      await once(changes, id, { signal }).catch(() => {})
    },
    progressed(id, attempt, progress) {
      const known = findProgress(id, attempt)
      if (!known) return
      const { startedAt } = known
      progresses.set(id, { ...progress, ...(startedAt !== undefined && { startedAt }) })
    },
    started(id, attempt, at) {
      const known = findProgress(id, attempt)
      if (known) progresses.set(id, { ...known, startedAt: at })
    },
    findProgress,
    isIdle: () => calls.size === 0,
  }
}

/** A call's means to be stopped. */
export function createStop(): { readonly signal: TaskStop; stop(reason: StopReason): void } {
  const stopping = new AbortController()
  return { signal: stopping.signal, stop: (reason) => stopping.abort(reason) }
}
