import type { Outcome } from './outcome.ts'

/** When a call that failed is run again. Times in milliseconds. */
export interface Retries {
  /** How many attempts there may be after the first. */
  readonly max: number
  readonly minDelayMs: number
  readonly maxDelayMs: number
  /** By which the delay grows from attempt to attempt. */
  readonly factor: number
  /** By which part of itself, from 0 to 1, a delay may be shorter or longer. */
  readonly jitter: number
  /** Exit codes of the command that are worth another attempt; `any`: all but 0. */
  readonly onExit: 'any' | readonly number[]
  readonly onTimeout: boolean
}

/** The platform's own failures are tried again, a command's exit is not. */
export const DEFAULT_RETRIES: Retries = {
  max: 3,
  minDelayMs: 1_000,
  maxDelayMs: 60_000,
  factor: 2,
  jitter: 0.2,
  onExit: [],
  onTimeout: false,
}

/** What the platform may well get right the next time. */
const PASSING = new Set([
  'engine_unreachable',
  'engine_failed',
  'image_pull_failed',
  'unschedulable',
])

/**
 * How long to wait, in milliseconds, before a call is run again that has ended so after `attempts` attempts; undefined: it has
 * ended for good. `random` is from 0 to 1.
 */
export function findRetryDelay(
  retries: Retries,
  attempts: number,
  outcome: Outcome,
  random: number,
): number | undefined {
  if (attempts > retries.max || !isWorthwhile(retries, outcome)) return undefined
  const { minDelayMs, maxDelayMs, factor, jitter } = retries
  const delay = Math.min(minDelayMs * factor ** (attempts - 1), maxDelayMs)
  return Math.round(delay * (1 + jitter * (2 * random - 1)))
}

function isWorthwhile({ onExit, onTimeout }: Retries, outcome: Outcome): boolean {
  switch (outcome.reason) {
    case 'exited':
    case 'oom_killed':
      if (outcome.exitCode === null || outcome.exitCode === 0) return false
      return onExit === 'any' || onExit.includes(outcome.exitCode)
    case 'timed_out':
      return onTimeout
    case 'cancelled':
      return false
    case 'lost':
      return true
    case 'not_started':
      return PASSING.has(outcome.failure?.code ?? '')
  }
}
