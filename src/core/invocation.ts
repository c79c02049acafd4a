import type { Callback } from './callback.ts'
import type { Outcome, Start, TaskResult, Timings } from './outcome.ts'
import { toOutcome } from './outcome.ts'
import type { ParameterValue } from './parameters.ts'
import type { TaskHandle } from './task.ts'
import type { TriggeredBy } from './trigger.ts'

export type InvocationState =
  | 'queued'
  | 'running'
  | 'succeeded'
  | 'failed'
  | 'timed_out'
  | 'cancelled'
  | 'lost'

/** One call of a function. Times are milliseconds since the epoch. */
export interface Invocation {
  readonly id: string
  readonly functionName: string
  readonly state: InvocationState
  /** Whether its caller waits on the connection, so that nobody is left to run it for once that breaks. */
  readonly mode: 'sync' | 'async'
  readonly callId: string
  readonly labels: readonly string[]
  readonly parameters: Readonly<Record<string, ParameterValue>>
  /** Variables beyond those of the definition. */
  readonly environment?: Readonly<Record<string, string>>
  /** Who called, as `Caller` names him. */
  readonly caller?: string
  readonly trigger?: TriggeredBy
  readonly group?: ConcurrencyGroup
  readonly createdAt: number
  /** Queued: it is not to be run before. */
  readonly dueAt: number
  /** Queued: it is not to be run any more after. */
  readonly expiresAt?: number
  readonly startedAt?: number
  readonly finishedAt?: number
  readonly outcome?: Outcome
  readonly node?: string
  readonly start?: Start
  readonly timings: Timings
  /** Each state that it has been in, oldest first. */
  readonly history: readonly Transition[]
  /** Each time that it was given to the engine, oldest first. */
  readonly attempts: readonly Attempt[]
  readonly hasInput: boolean
  /** Where its outcome is to be sent. */
  readonly callback?: Callback
  /** The invocation whose parameters and input it has. */
  readonly replayOf?: string
}

/** At most `max` of the same key are under way at once; the others wait, in the order in which they came. */
export interface ConcurrencyGroup {
  readonly key: string
  readonly max: number
}

export interface Transition {
  readonly state: InvocationState
  readonly at: number
}

export interface Attempt {
  /** From 1 on. */
  readonly number: number
  readonly takenAt: number
  /** Absent: its command has certainly not run. */
  readonly handle?: TaskHandle
  /** It has an input on stdin: whether the engine has got all of it. */
  readonly isInputDelivered?: boolean
  readonly finishedAt?: number
  readonly outcome?: Outcome
  readonly node?: string
  readonly start?: Start
  readonly timings?: Timings
}

/** An invocation that has come to its end. */
export type Settled = Invocation &
  Required<Pick<Invocation, 'finishedAt' | 'outcome' | 'node' | 'start'>>

export type NewInvocation = Pick<Invocation, 'id' | 'functionName' | 'mode' | 'callId'> &
  Partial<
    Pick<
      Invocation,
      | 'labels'
      | 'parameters'
      | 'environment'
      | 'caller'
      | 'trigger'
      | 'group'
      | 'expiresAt'
      | 'hasInput'
      | 'callback'
      | 'replayOf'
    >
  >

export function queued(invocation: NewInvocation, now: number): Invocation {
  return {
    labels: [],
    parameters: {},
    hasInput: false,
    ...invocation,
    state: 'queued',
    createdAt: now,
    dueAt: now,
    timings: {},
    history: [{ state: 'queued', at: now }],
    attempts: [],
  }
}

/** It got its slot; the engine has it now. */
export function running(invocation: Invocation, now: number): Invocation {
  const { dueAt, history, attempts } = invocation
  return {
    ...invocation,
    state: 'running',
    timings: { queueMs: now - dueAt },
    history: [...history, { state: 'running', at: now }],
    attempts: [...attempts, { number: attempts.length + 1, takenAt: now }],
  }
}

/** The engine has a place for it, and its command is about to run there. */
export function placed(invocation: Invocation, handle: TaskHandle): Invocation {
  return withAttempt(invocation, { handle })
}

/** The engine has got all of its input. */
export function inputDelivered(invocation: Invocation): Invocation {
  return withAttempt(invocation, { isInputDelivered: true })
}

/** It is to be run once more, after what `result` says of the attempt at hand. */
export function requeued(invocation: Invocation, result: TaskResult, dueAt: number): Invocation {
  const { history } = invocation
  return {
    ...withAttempt(invocation, toAttemptEnd(result)),
    state: 'queued',
    dueAt,
    timings: {},
    history: [...history, { state: 'queued', at: result.finishedAt }],
  }
}

/** Its command has certainly not run: as if the attempt at hand had not been made. */
export function returned(invocation: Invocation, dueAt: number): Invocation {
  const { history, attempts } = invocation
  return {
    ...invocation,
    state: 'queued',
    dueAt,
    timings: {},
    // It may come to this as often as an engine is asked in vain.
    history: history.slice(0, -1),
    attempts: attempts.slice(0, -1),
  }
}

export function settled(invocation: Invocation, result: TaskResult): Settled {
  const outcome = toOutcome(result)
  const state = toState(outcome)
  const hasAttempt = invocation.state === 'running'
  return {
    ...(hasAttempt ? withAttempt(invocation, toAttemptEnd(result)) : invocation),
    state,
    ...(result.startedAt !== undefined && { startedAt: result.startedAt }),
    finishedAt: result.finishedAt,
    outcome,
    node: result.node,
    start: result.start,
    timings: { ...invocation.timings, ...result.timings },
    history: [...invocation.history, { state, at: result.finishedAt }],
  }
}

export function isSettled(invocation: Invocation): invocation is Settled {
  return invocation.state !== 'queued' && invocation.state !== 'running'
}

export function toState(outcome: Outcome): Exclude<InvocationState, 'queued' | 'running'> {
  switch (outcome.reason) {
    case 'exited':
      return outcome.exitCode === 0 ? 'succeeded' : 'failed'
    case 'oom_killed':
    case 'not_started':
      return 'failed'
    case 'timed_out':
    case 'cancelled':
    case 'lost':
      return outcome.reason
  }
}

function withAttempt(invocation: Invocation, news: Partial<Attempt>): Invocation {
  const latest = invocation.attempts.at(-1)
  if (!latest) return invocation
  return { ...invocation, attempts: [...invocation.attempts.slice(0, -1), { ...latest, ...news }] }
}

function toAttemptEnd(result: TaskResult): Partial<Attempt> {
  const { finishedAt, node, start, timings } = result
  return { finishedAt, node, start, timings, outcome: toOutcome(result) }
}
