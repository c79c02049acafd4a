import type { ContainerWatch } from './container-watch.ts'
import type { Contestant } from './contestant.ts'
import { shuffled } from './statistics.ts'

export interface Turns {
  /** Rounds that don't count. */
  readonly warmUps: number
  /** Calls of each contestant that do. */
  readonly runs: number
}

/** Milliseconds of each call. All take one turn a round, in random order, so that a drift hits all alike. */
export async function timeInTurn(
  contestants: readonly Contestant[],
  { warmUps, runs }: Turns,
  watch: ContainerWatch,
): Promise<Map<Contestant, number[]>> {
  const times = new Map(contestants.map((contestant) => [contestant, [] as number[]]))
  for (let round = 0; round < warmUps + runs; round += 1) {
    for (const contestant of shuffled(contestants)) {
      const startedAt = performance.now()
      await contestant.call()
      const ms = performance.now() - startedAt
      // What one leaves to be done must not burden the next.
      await watch.removed(1)
      if (round >= warmUps) times.get(contestant)!.push(ms)
    }
  }
  return times
}

/** Calls a second, so many in flight, from the first request until the last container is gone. */
export async function rateInFlight(
  contestant: Contestant,
  { flight, calls }: { readonly flight: number; readonly calls: number },
  watch: ContainerWatch,
): Promise<number> {
  const startedAt = performance.now()
  let left = calls
  const lane = async () => {
    while (left > 0) {
      left -= 1
      await contestant.call()
    }
  }
  const lanes = Array.from({ length: flight }, lane)
  // Should one fail, none may still run while we clean up.
  await Promise.allSettled(lanes)
  await Promise.all(lanes)
  await watch.removed(calls)
  return calls / ((performance.now() - startedAt) / 1000)
}
