import type { Warm } from './function.ts'

/** How a function is called of late. */
export interface Demand {
  /** Calls per second, older ones counting less. */
  readonly rate: number
  /** Milliseconds since the epoch. */
  readonly lastAt: number
}

/** Calls this long ago count for a third. */
const WINDOW_MS = 30_000
/** A function that is called no more is kept ready for so long. */
const IDLE_MS = 10 * 60_000
/** Before the first one is armed. */
const PRESUMED_ARM_MS = 500
/** Calls do not come evenly. */
const MARGIN = 2

/** A call has come. */
export function demanded(demand: Demand | undefined, now: number): Demand {
  return { rate: (demand ? rateAt(demand, now) : 0) + 1000 / WINDOW_MS, lastAt: now }
}

function rateAt({ rate, lastAt }: Demand, now: number): number {
  return rate * Math.exp(-(now - lastAt) / WINDOW_MS)
}

/** How many to keep: what is called while one is being armed, with a margin, and one for a call out of the blue. */
export function toTarget(
  { min, max }: Warm,
  demand: Demand | undefined,
  armMs: number | undefined,
  now: number,
): number {
  if (!demand || now - demand.lastAt > IDLE_MS) return Math.min(min, max)
  const meanwhile = (rateAt(demand, now) * (armMs ?? PRESUMED_ARM_MS)) / 1000
  return Math.min(Math.max(Math.round(meanwhile * MARGIN) + 1, min), max)
}

export interface Claim {
  readonly min: number
  readonly target: number
}

/** Parts the budget: first what definitions ask for, then one more each in turn, up to their targets. */
export function share(claims: readonly Claim[], budget: number): number[] {
  let left = budget
  const grant = (count: number) => {
    const granted = Math.min(count, left)
    left -= granted
    return granted
  }
  const shares = claims.map(({ min, target }) => grant(Math.min(min, target)))
  for (;;) {
    const before = left
    for (const [index, { target }] of claims.entries()) {
      const had = shares[index] ?? 0
      if (had < target) shares[index] = had + grant(1)
    }
    if (left === before) return shares
  }
}
