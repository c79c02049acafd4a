import type { Outcome, Start, TaskResult, Timings } from './outcome.ts'
import { toOutcome } from './outcome.ts'
import type { ParameterValue } from './parameters.ts'

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
  readonly parameters: Readonly<Record<string, ParameterValue>>
  readonly createdAt: number
  readonly startedAt?: number
  readonly finishedAt?: number
  readonly outcome?: Outcome
  readonly node?: string
  readonly start?: Start
  readonly timings: Timings
}

/** An invocation that has come to its end. */
export type Settled = Invocation &
  Required<Pick<Invocation, 'finishedAt' | 'outcome' | 'node' | 'start'>>

export function queued(
  id: string,
  functionName: string,
  parameters: Invocation['parameters'],
  now: number,
): Invocation {
  return { id, functionName, state: 'queued', parameters, createdAt: now, timings: {} }
}

/** It got its slot; the engine has it now. */
export function running(invocation: Invocation, now: number): Invocation {
  const timings = { queueMs: now - invocation.createdAt }
  return { ...invocation, state: 'running', timings }
}

export function settled(invocation: Invocation, result: TaskResult): Settled {
  const outcome = toOutcome(result)
  return {
    ...invocation,
    state: toState(outcome),
    ...(result.startedAt !== undefined && { startedAt: result.startedAt }),
    finishedAt: result.finishedAt,
    outcome,
    node: result.node,
    start: result.start,
    timings: { ...invocation.timings, ...result.timings },
  }
}

export function toState(outcome: Outcome): InvocationState {
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
