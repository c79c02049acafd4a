import type { FunctionSpec } from '../core/function.ts'
import type { Demand } from '../core/warm.ts'
import { demanded, share, toTarget } from '../core/warm.ts'
import type { Engine } from '../engine/engine.ts'

export interface WarmerDeps {
  readonly engine: Pick<Engine, 'arm' | 'armed'>
  /** The functions that can be called now. */
  readonly list: () => readonly FunctionSpec[]
  /** The most armed containers, of all functions together. */
  readonly budget: number
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

export interface Warmer {
  /** A call of this function has come. */
  called(spec: FunctionSpec): void
  /** Tells the engine how many containers to keep ready now. */
  adjust(): void
  close(): void
}

const ADJUST_MS = 500

/** Decides how many containers of each function are kept armed. */
export function startWarmer({ engine, list, budget, clock }: WarmerDeps): Warmer {
  let demands = new Map<FunctionSpec, Demand>()

  function called(spec: FunctionSpec): void {
    demands.set(spec, demanded(demands.get(spec), clock()))
  }

  function adjust(): void {
    const now = clock()
    const specs = list()
    const states = new Map(engine.armed().map((state) => [state.spec, state]))
    const claims = specs.map((spec) => ({
      min: spec.warm.min,
      target: toTarget(spec.warm, demands.get(spec), states.get(spec)?.armMs, now),
    }))
    const known = new Set(specs)
    for (const spec of states.keys()) if (!known.has(spec)) engine.arm(spec, 0)
    for (const [index, count] of share(claims, budget).entries()) engine.arm(specs[index]!, count)
    demands = new Map([...demands].filter(([spec]) => known.has(spec)))
  }

  const timer = setInterval(adjust, ADJUST_MS)
  timer.unref()
  adjust()
  return { called, adjust, close: () => clearInterval(timer) }
}
