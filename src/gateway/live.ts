import { EventEmitter, once } from 'node:events'
import type { StopReason } from '../core/outcome.ts'
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

export interface LiveCalls {
  add(id: string, call: LiveCall): void
  find(id: string): LiveCall | undefined
  /** Its end, or its next attempt's queueing, is on record. */
  remove(id: string): void
  has(id: string): boolean
  /** Fulfilled once a call has come into this process's hands, or has left them with its record changed, or at the signal. */
  changed(id: string, signal: AbortSignal): Promise<void>
  isIdle(): boolean
}

export function createLiveCalls(): LiveCalls {
  const calls = new Map<string, LiveCall>()
  const changes = new EventEmitter()
  changes.setMaxListeners(0)
  return {
    add(id, call) {
      calls.set(id, call)
      changes.emit(id)
    },
    find: (id) => calls.get(id),
    remove(id) {
      calls.delete(id)
      changes.emit(id)
    },
    has: (id) => calls.has(id),
    async changed(id, signal) {
      await once(changes, id, { signal }).catch(() => {})
    },
    isIdle: () => calls.size === 0,
  }
}

/** A call's means to be stopped. */
export function createStop(): { readonly signal: TaskStop; stop(reason: StopReason): void } {
  const stopping = new AbortController()
  return { signal: stopping.signal, stop: (reason) => stopping.abort(reason) }
}
