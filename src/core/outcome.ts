import type { ErrorCode } from './error.ts'

/** 128 + SIGKILL */
const KILLED = 137

export type Reason = 'exited' | 'timed_out' | 'cancelled' | 'oom_killed' | 'not_started' | 'lost'

/** Why we stop a task that has not ended by itself. Given to `Engine.run` as its signal's reason. */
export type StopReason = 'timed_out' | 'cancelled'

export interface Failure {
  readonly code: ErrorCode
  readonly detail: string
}

/** How long each part of a task took, in milliseconds; a part that was not reached is absent. */
export interface Timings {
  readonly queueMs?: number
  readonly pullMs?: number
  readonly createMs?: number
  readonly startMs?: number
  readonly runMs?: number
  /** From the command's end to that of its output and of its report. */
  readonly collectMs?: number
}

export type Start = 'armed' | 'cold'

/** What an engine reports back. */
export type TaskResult = TaskEnd & {
  /** The host that ran it. */
  readonly node: string
  /** In a container that was ready for it, or in one that had to be made. */
  readonly start: Start
  /** Milliseconds since the epoch; absent if the command never started. */
  readonly startedAt?: number
  readonly finishedAt: number
  readonly timings: Timings
}

export type TaskEnd =
  /** The command ended by itself. 128 + n: killed by signal n. */
  | { readonly kind: 'exited'; readonly exitCode: number; readonly oomKilled: boolean }
  /** We ended it. The exit code is null if there was nothing to end yet, or the engine could not tell it. */
  | { readonly kind: 'stopped'; readonly by: StopReason; readonly exitCode: number | null }
  /** The engine would not start it: its command never ran. */
  | { readonly kind: 'not_started'; readonly failure: Failure }
  /** It ran, and how it ended can't be known. */
  | { readonly kind: 'lost'; readonly failure: Failure }

export interface Outcome {
  readonly reason: Reason
  readonly exitCode: number | null
  readonly failure?: Failure
}

export function toOutcome(end: TaskEnd): Outcome {
  switch (end.kind) {
    case 'exited':
      // An OOM kill of some child that the command survived is the command's own business.
      return end.oomKilled && end.exitCode === KILLED
        ? { reason: 'oom_killed', exitCode: end.exitCode }
        : { reason: 'exited', exitCode: end.exitCode }
    case 'stopped':
      return { reason: end.by, exitCode: end.exitCode }
    case 'not_started':
      return { reason: 'not_started', exitCode: null, failure: end.failure }
    case 'lost':
      return { reason: 'lost', exitCode: null, failure: end.failure }
  }
}
