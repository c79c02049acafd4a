import { OneshotError } from '../core/error.ts'
import type { Invocation, Settled } from '../core/invocation.ts'
import { isSettled } from '../core/invocation.ts'
import type { OutputFrame } from '../core/output-record.ts'
import type {
  InvocationFilter,
  ListedInvocation,
  Page,
  Spool,
  Store,
  StoredOutput,
} from '../store/store.ts'
import type { LiveCall, LiveCalls, Progress } from './live.ts'
import type { Worker } from './worker.ts'

export interface InvocationsDeps {
  readonly store: Store
  readonly spool: Spool
  readonly live: LiveCalls
  readonly worker: Worker
}

/** What one attempt has printed. */
export interface AttemptOutput {
  /** Its number. */
  readonly attempt: number
  readonly frames: AsyncIterable<OutputFrame>
  /** It had ended when this was found. */
  readonly isOver: boolean
}

/** What is known of calls, and what can still be done about them. */
export interface Invocations {
  /** Throws `invocation_not_found`. */
  get(id: string): Promise<Invocation>
  /** Waits for its end, until the signal. */
  wait(id: string, signal: AbortSignal): Promise<Invocation>
  list(filter: InvocationFilter, page: Page): Promise<readonly ListedInvocation[]>
  /** How far one has come that runs in the hands of this process. */
  findProgress(invocation: Pick<Invocation, 'id' | 'state' | 'attempts'>): Progress | undefined
  /**
   * What its latest attempt has printed; with `follow`, what that will print, and those after it, up to the call's end. The frames of one
   * are to be read before the next is asked for.
   */
  output(id: string, follow: boolean, signal: AbortSignal): AsyncIterable<AttemptOutput>
  /** Of a call that has ended. Throws `invocation_not_found` if it has been forgotten since. */
  findOutput(invocation: Settled): Promise<StoredOutput>
  /** Stops it, and waits for its end on record. Of one that has ended, that. */
  cancel(id: string): Promise<Invocation>
}

export function createInvocations({ store, spool, live, worker }: InvocationsDeps): Invocations {
  async function get(id: string): Promise<Invocation> {
    const found = await store.invocations.find(id)
    if (found) return found
    throw toNotFound(id)
  }

  async function findOutput(id: string): Promise<StoredOutput> {
    const found = await store.invocations.findOutput(id)
    if (found) return found
    throw toNotFound(id)
  }

  function toNotFound(id: string): OneshotError {
    const detail = `There is no invocation ${JSON.stringify(id)}: it may be older than ONESHOT_RETENTION.`
    return new OneshotError('invocation_not_found', detail)
  }

  /** What is known now, and its next change: listening first, as that may come while the store is read. */
  async function watch<T>(
    id: string,
    signal: AbortSignal,
    act: (invocation: Invocation, changed: Promise<void>) => Promise<T>,
  ): Promise<T> {
    const over = new AbortController()
    try {
      const changed = live.changed(id, AbortSignal.any([signal, over.signal]))
      return await act(await get(id), changed)
    } finally {
      over.abort()
    }
  }

  async function wait(id: string, signal: AbortSignal): Promise<Invocation> {
    for (;;) {
      const ended = await watch(id, signal, async (invocation, changed) => {
        if (isSettled(invocation) || signal.aborted) return invocation
        await changed
        return undefined
      })
      if (ended) return ended
    }
  }

  async function* output(
    id: string,
    follow: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<AttemptOutput> {
    for (;;) {
      const found = await watch(id, signal, async (invocation, changed) => {
        if (isSettled(invocation)) return invocation
        const call = live.find(id)
        if (!call && follow) await changed
        return call
      })
      if (found && 'id' in found) {
        const stored = await findOutput(id)
        const attempt = found.attempts.length
        yield { attempt, frames: spool.readOutput(id, stored), isOver: true }
        return
      }
      if (found) {
        const { attempt, recorder } = found
        const frames = follow ? recorder.follow(signal) : recorder.read()
        yield { attempt, frames, isOver: false }
      }
      if (!follow) return
      // What ended may only have been an attempt.
      if (found && (await isEnd(id, found, signal))) return
      if (signal.aborted) return
    }
  }

  /** Whether a call has come to its end for good with an attempt that prints nothing more. */
  async function isEnd(id: string, call: LiveCall, signal: AbortSignal): Promise<boolean> {
    while (live.find(id) === call && !signal.aborted) await live.changed(id, signal)
    const invocation = await get(id)
    return isSettled(invocation) && invocation.attempts.length === call.attempt
  }

  async function cancel(id: string): Promise<Invocation> {
    const signal = AbortSignal.timeout(CANCEL_MS)
    for (;;) {
      const ended = await watch(id, signal, async (invocation, changed) => {
        if (isSettled(invocation) || signal.aborted) return invocation
        const call = live.find(id)
        call?.stop('cancelled')
        // It may be taken in this moment, or wait for its next attempt just now: then it changes.
        if (call || !(await worker.cancelQueued(id))) await changed
        return undefined
      })
      if (ended) return ended
    }
  }

  return {
    get,
    wait,
    list: (filter, page) => store.invocations.list(filter, page),
    findProgress: ({ id, state, attempts }) =>
      state === 'running' ? live.findProgress(id, attempts.length) : undefined,
    output,
    findOutput: ({ id }) => findOutput(id),
    cancel,
  }
}

/** How long a stopped command's end is waited for; it comes all the same. */
const CANCEL_MS = 30_000
