import type { Logger } from 'pino'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation } from '../core/invocation.ts'
import { returned } from '../core/invocation.ts'
import type { Failure, TaskResult } from '../core/outcome.ts'
import { DEFAULT_RETRIES } from '../core/retry.ts'
import type { TaskHandle } from '../core/task.ts'
import type { Engine } from '../engine/engine.ts'
import type { Spool, Store } from '../store/store.ts'
import type { Admission } from './admission.ts'
import type { Attempts } from './attempt.ts'
import { UNSTARTED } from './attempt.ts'
import type { LiveCalls } from './live.ts'
import { createStop } from './live.ts'

export interface RecoverDeps {
  readonly engine: Engine
  readonly store: Store
  readonly spool: Spool
  readonly attempts: Attempts
  readonly admission: Admission
  readonly live: LiveCalls
  readonly findSpec: (functionName: string) => FunctionSpec | Failure
  readonly clock: () => number
  readonly node: string
  readonly logger: Logger
}

/**
 * Takes up what a former process had in its hands. When this is fulfilled each is either queued, or on record as ended, or live; the
 * ends of those that are live come later.
 */
export async function recover(deps: RecoverDeps): Promise<void> {
  const { engine, store, spool, attempts, admission, live, findSpec, clock, node, logger } = deps
  // What a crash has left of calls that were never on record.
  for (const id of await spool.list()) {
    if (!(await store.invocations.find(id))) await spool.remove([id])
  }
  const stranded = await store.invocations.listStranded()
  if (stranded.length > 0) logger.info({ calls: stranded.length }, 'taking calls up again')
  await Promise.all(stranded.map(takeUp))

  async function takeUp(invocation: Invocation): Promise<void> {
    const { id, mode, hasInput } = invocation
    const attempt = invocation.attempts.at(-1)
    if (invocation.state === 'queued' || !attempt?.handle) {
      if (mode === 'async') {
        await store.invocations.update(returned(invocation, clock()))
      } else {
        // Not awaited: a full disk must not keep the gateway from starting.
        const held = hold(invocation, 0)
        void attempts.settle(invocation, { ...UNSTARTED, node, finishedAt: clock() }, held)
      }
      return
    }
    const spec = findSpec(invocation.functionName)
    if (!('container' in spec)) {
      const held = hold(invocation, 0)
      // A broken definition may be corrected: another attempt waits for that.
      const max = spec.code === 'function_broken' ? DEFAULT_RETRIES.max : 0
      const retries = { ...DEFAULT_RETRIES, max }
      void giveUp(invocation, attempt.handle, (abandoned) =>
        attempts.end(invocation, { retries }, abandoned ?? toLost(spec.detail), held),
      )
      return
    }
    const held = hold(invocation, spec.limits.logBytes)
    if (hasInput && attempt.isInputDelivered !== true) {
      const detail = 'The gateway ended before the command had all of its input.'
      void giveUp(invocation, attempt.handle, (abandoned) =>
        attempts.end(invocation, spec, abandoned ?? toLost(detail), held),
      )
      return
    }
    const leftMs = attempt.takenAt + spec.timeoutMs - clock()
    const deadline = setTimeout(held.abort, Math.max(leftMs, 0), 'timed_out')
    const release = admission.tryAcquire(spec.name, spec.concurrency)
    void attempts
      .resume(invocation, spec, attempt.handle, held)
      .catch((error: unknown) => {
        logger.error({ err: error, invocation: id }, 'a call could not be taken up again')
      })
      .finally(() => {
        clearTimeout(deadline)
        release?.()
      })
  }

  /** Nobody waits for the engine here: it may be slow to end what runs. */
  async function giveUp(
    { id }: Invocation,
    handle: TaskHandle,
    end: (abandoned: 'never_ran' | undefined) => Promise<unknown>,
  ): Promise<void> {
    try {
      await end(await engine.abandon(handle))
    } catch (error) {
      logger.error({ err: error, invocation: id }, 'a call could not be given up')
    }
  }

  function hold(invocation: Invocation, logBytes: number) {
    const { signal, stop: abort } = createStop()
    const recorder = spool.record(invocation.id, logBytes)
    const attempt = invocation.attempts.length
    live.add(invocation.id, { stop: abort, attempt, recorder })
    return { stop: signal, abort, recorder }
  }

  function toLost(detail: string): TaskResult {
    const failure: Failure = { code: 'engine_failed', detail }
    return { kind: 'lost', failure, node, start: 'cold', finishedAt: clock(), timings: {} }
  }
}
