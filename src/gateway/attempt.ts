import type { Logger } from 'pino'
import type { Delivery } from '../core/callback.ts'
import { pending } from '../core/callback.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation, Settled } from '../core/invocation.ts'
import { inputDelivered, placed, requeued, returned, settled } from '../core/invocation.ts'
import type { TaskResult } from '../core/outcome.ts'
import { toOutcome } from '../core/outcome.ts'
import { findRetryDelay } from '../core/retry.ts'
import type { Task, TaskHandle, TaskIo } from '../core/task.ts'
import { toStartedTask, toTask } from '../core/task.ts'
import type { Engine, ResumeIo, TaskStop } from '../engine/engine.ts'
import type { Recorder, Store } from '../store/store.ts'
import type { AttemptIo } from './attempt-io.ts'
import { reporting, tee, telling } from './attempt-io.ts'
import type { LiveCalls } from './live.ts'

export interface AttemptDeps {
  readonly engine: Engine
  readonly store: Store
  readonly live: LiveCalls
  readonly newId: () => string
  readonly clock: () => number
  /** From 0 to 1. */
  readonly random: () => number
  /** The host that answers for a call which reached no engine. */
  readonly node: string
  readonly logger: Logger
  /** An invocation's end is on record. */
  readonly onSettled: (invocation: Settled, delivery: Delivery | undefined) => void
  /** An invocation waits for its next attempt. */
  readonly onRequeued: () => void
  /** The engine can't be reached; until `time` there is no use in asking it again. */
  readonly onUnreachable: (time: number) => void
}

export interface Attempts {
  /**
   * Gives an invocation that has its slot to the engine, and sees to what comes of it: its end is on record, or it
   * waits for another attempt. Never rejects.
   */
  run(taken: Invocation, spec: FunctionSpec, io: AttemptIo, held: HeldCall): Promise<Invocation>
  /** Takes up again what a former process had given to the engine. Never rejects. */
  resume(
    taken: Invocation,
    spec: FunctionSpec,
    handle: TaskHandle,
    held: HeldCall,
  ): Promise<Invocation>
  /** Puts on record what came of an attempt: its end, or that another is to follow. */
  end(
    current: Invocation,
    spec: Pick<FunctionSpec, 'retries'>,
    result: TaskResult | 'never_ran',
    held: HeldCall,
  ): Promise<Invocation>
  /** Puts an end on record without an attempt, such as that of a call that was cancelled while it waited. */
  settle(invocation: Invocation, result: TaskResult, held: EndingCall): Promise<Settled>
}

/** A call in the hands of this process. */
export interface HeldCall extends EndingCall {
  readonly stop: TaskStop
  /** The invocation is in the store; if this rejects it never will be, and its end is on no record either. */
  readonly added?: Promise<unknown>
  /** Told of what the attempt failed at, in place of the log. */
  onFault?(error: unknown): void
}

export interface EndingCall {
  readonly recorder: Recorder
  /** Told how it has ended while that is being written, which is ahead of what is read from the store from now on. */
  onEnded?(ended: Settled): void
}

/** An engine that can't be reached is asked again so often. */
const ENGINE_RETRY_MS = 2_000
const NO_ATTEMPT = new Set(['engine_unreachable', 'storage_full', 'data_unusable'])
/** An engine that answers, but not as it should, may be on its way up, or behind a proxy. */
const MAX_RESUME_FAILURES = 30
/** What can't be written is written again so often: the end of an accepted call must not be lost. */
const WRITE_RETRY_MS = 1_000

/** A call that a former process had not started, whose caller's connection ended with that process. */
export const UNSTARTED = {
  kind: 'not_started',
  failure: {
    code: 'shutting_down',
    detail: 'The gateway ended before the command was started, and the connection with it.',
  },
  start: 'cold',
  timings: {},
} as const

export function createAttempts(deps: AttemptDeps): Attempts {
  const { engine, store, live, newId, clock, random, node, logger } = deps

  async function run(
    taken: Invocation,
    spec: FunctionSpec,
    io: AttemptIo,
    held: HeldCall,
  ): Promise<Invocation> {
    let current = taken
    const { promise: recorded, resolve } = Promise.withResolvers<void>()
    const { recorder, stop, added } = held
    let inputFailure: unknown
    let isOver = false
    const onInputFailure = (error: unknown) => {
      inputFailure = error
      live.find(taken.id)?.stop('cancelled')
    }
    const taskIo: TaskIo = {
      stdin: io.stdin && telling(io.stdin, onInputFailure),
      stdout: tee('stdout', recorder, io.answer?.stdout),
      stderr: tee('stderr', recorder, io.answer?.stderr),
      async placed(handle) {
        current = placed(current, handle)
        await Promise.all([added, store.invocations.update(current)])
      },
      ...reporting(taken, live, clock, io.answer),
      ...(io.stdin && {
        inputDelivered() {
          if (isOver) return
          current = inputDelivered(current)
          void write(
            () => store.invocations.update(current),
            () => isOver,
          )
        },
      }),
      recorded,
    }
    const act = () => engine.run(toTask(spec, taken), taskIo, stop)
    const result = await attempt(act, stop, held.onFault)
    isOver = true
    // Whoever waits has cut it off; but what was accepted must not be taken for whole.
    const isCutOff = inputFailure !== undefined && taken.mode === 'async'
    if (isCutOff) logger.error({ err: inputFailure, invocation: taken.id }, 'an input is lost')
    const told = isCutOff ? toInputLost(result) : result
    const ending = (await isAdded(held))
      ? end(current, spec, told, held)
      : forget(current, told, recorder)
    return ending.finally(resolve)
  }

  async function resume(
    taken: Invocation,
    spec: FunctionSpec,
    handle: TaskHandle,
    held: HeldCall,
  ): Promise<Invocation> {
    const { recorder, stop } = held
    const { promise: recorded, resolve } = Promise.withResolvers<void>()
    const output = { stdout: tee('stdout', recorder), stderr: tee('stderr', recorder) }
    const io = { ...output, ...reporting(taken, live, clock), recorded }
    const result = await takeUp(toStartedTask(spec, taken), handle, io, stop)
    return end(taken, spec, result, held).finally(resolve)
  }

  /** Its container may well be there: how it ended is not to be decided without the engine, whatever `stop` says. */
  async function takeUp(
    task: Task,
    handle: TaskHandle,
    io: ResumeIo,
    stop: TaskStop,
  ): Promise<TaskResult | 'never_ran'> {
    for (let failures = 0; ;) {
      try {
        return await engine.resume(task, handle, io, stop)
      } catch (error) {
        const isPassing = error instanceof OneshotError && error.code === 'engine_unreachable'
        if (!isPassing) failures += 1
        if (failures > MAX_RESUME_FAILURES) {
          logger.error({ err: error, invocation: task.invocationId }, 'a call is given up')
          const abandoned = await engine.abandon(handle)
          return abandoned ?? toLost('It ran, and the engine would not tell how it ended.')
        }
        await pause(ENGINE_RETRY_MS)
      }
    }
  }

  /** What the engine can't do is an end as well. */
  async function attempt(
    act: () => Promise<TaskResult>,
    stop: TaskStop,
    onFault = (error: unknown): void => {
      if (!(error instanceof OneshotError)) logger.error({ err: error }, 'an attempt failed')
    },
  ): Promise<TaskResult> {
    try {
      return await act()
    } catch (error) {
      onFault(error)
      const { code, message: detail } =
        error instanceof OneshotError
          ? error
          : new OneshotError('internal', 'The gateway failed; its log tells more.')
      const ended = { node, start: 'cold', finishedAt: clock(), timings: {} } as const
      return stop.aborted
        ? { kind: 'stopped', by: stop.reason, exitCode: null, ...ended }
        : { kind: 'not_started', failure: { code, detail }, ...ended }
    }
  }

  async function end(
    current: Invocation,
    spec: Pick<FunctionSpec, 'retries'>,
    result: TaskResult | 'never_ran',
    held: HeldCall,
  ): Promise<Invocation> {
    const next = findNext(current, spec, result, held.stop)
    // Nobody waits for a sync call any more that a former process had not started.
    if (!next) return settle(current, result === 'never_ran' ? unstarted() : result, held)
    await held.recorder.discard()
    await write(() => store.invocations.update(next))
    live.remove(current.id)
    deps.onRequeued()
    return next
  }

  /** The invocation, to be run once more; undefined if it has come to its end. */
  function findNext(
    current: Invocation,
    spec: Pick<FunctionSpec, 'retries'>,
    result: TaskResult | 'never_ran',
    stop: TaskStop,
  ): Invocation | undefined {
    const now = clock()
    // Whoever cancels a call wants no other attempt, however this one has ended.
    const isRepeatable = current.mode === 'async' && !(stop.aborted && stop.reason === 'cancelled')
    if (!isRepeatable) return undefined
    if (result === 'never_ran') return returned(current, now)
    const outcome = toOutcome(result)
    const { expiresAt = Infinity, attempts } = current
    // It has not had its attempt: the engine was not there, or no room to write down where it is.
    if (outcome.reason === 'not_started' && NO_ATTEMPT.has(outcome.failure?.code ?? '')) {
      const dueAt = now + ENGINE_RETRY_MS
      if (dueAt > expiresAt) return undefined
      deps.onUnreachable(dueAt)
      return returned(current, dueAt)
    }
    const delay = findRetryDelay(spec.retries, attempts.length, outcome, random())
    if (delay === undefined || now + delay > expiresAt) return undefined
    return requeued(current, result, now + delay)
  }

  async function isAdded({ added }: HeldCall): Promise<boolean> {
    return (
      added?.then(
        () => true,
        () => false,
      ) ?? true
    )
  }

  /** Of a call that could not be put on record. */
  async function forget(
    current: Invocation,
    result: TaskResult,
    recorder: Recorder,
  ): Promise<Settled> {
    await recorder.discard()
    live.remove(current.id)
    return settled(current, result)
  }

  function unstarted(): TaskResult {
    return { ...UNSTARTED, node, finishedAt: clock() }
  }

  async function settle(
    invocation: Invocation,
    result: TaskResult,
    { recorder, onEnded }: EndingCall,
  ): Promise<Settled> {
    const ended = settled(invocation, result)
    const output = await recorder.finish()
    const delivery = ended.callback && pending(`msg_${newId()}`, ended, ended.callback, clock())
    const written = write(() => store.invocations.settle(ended, output, delivery))
    onEnded?.(ended)
    await written
    live.remove(ended.id)
    deps.onSettled(ended, delivery)
    return ended
  }

  /** Tries until it is written, or not worth writing any more. */
  async function write(act: () => Promise<void>, isObsolete = () => false): Promise<void> {
    while (!isObsolete()) {
      try {
        return await act()
      } catch (error) {
        logger.error({ err: error }, 'a record could not be written; trying again')
        await pause(WRITE_RETRY_MS)
      }
    }
  }

  function toLost(detail: string): TaskResult {
    const failure = { code: 'engine_failed', detail } as const
    return { kind: 'lost', failure, node, start: 'cold', finishedAt: clock(), timings: {} }
  }

  return { run, resume, end, settle }
}

function toInputLost(result: TaskResult): TaskResult {
  const { node, start, finishedAt, timings } = result
  const detail = "The call's input could not be read from the data folder."
  return { kind: 'lost', failure: { code: 'internal', detail }, node, start, finishedAt, timings }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
