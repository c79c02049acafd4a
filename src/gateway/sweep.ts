import type { Logger } from 'pino'
import type { Engine } from '../engine/engine.ts'

export interface SweeperDeps {
  readonly engine: Engine
  readonly isLive: (invocationId: string) => boolean
  readonly intervalMs: number
  readonly logger: Logger
}

export interface Sweeper {
  /** Sweeps now, or joins the sweep that is under way. Never rejects: what is left is for the next. */
  sweep(): Promise<void>
  close(): void
}

/** Removes what calls have left behind: at the start what a former process left, then from time to time. */
export function startSweeper({ engine, isLive, intervalMs, logger }: SweeperDeps): Sweeper {
  let sweeping: Promise<void> | undefined

  async function sweepOnce(): Promise<void> {
    try {
      const removed = await engine.sweep(isLive)
      if (removed > 0) logger.info({ removed }, 'removed leftovers')
    } catch (error) {
      logger.warn({ err: error }, 'the sweep for leftovers failed')
    }
  }

  function sweep(): Promise<void> {
    sweeping ??= sweepOnce().finally(() => {
      sweeping = undefined
    })
    return sweeping
  }

  const timer = setInterval(() => void sweep(), intervalMs)
  timer.unref()
  void sweep()
  return { sweep, close: () => clearInterval(timer) }
}
