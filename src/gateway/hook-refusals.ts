import type { RefusalReason } from '../core/webhook/refusal.ts'

/** A delivery that was not believed. */
export interface RefusedDelivery {
  readonly id: string
  readonly hook: string
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
  readonly reason: RefusalReason
  /** Where it came from. */
  readonly address: string
  readonly callId: string
  readonly bodyBytes: number
}

const MAX_PER_HOOK = 50
/** Of all together: names of webhooks that are gone must not add up. */
const MAX_HOOKS = 200

/** The latest refused deliveries, in memory alone: anyone can send such, and must not fill a disk by it. */
export interface HookRefusals {
  add(refused: RefusedDelivery): void
  /** Newest first. */
  list(hook: string): readonly RefusedDelivery[]
}

export function createHookRefusals(): HookRefusals {
  const byHook = new Map<string, RefusedDelivery[]>()
  return {
    add(refused) {
      const { hook } = refused
      const former = byHook.get(hook) ?? []
      // At the end of the map: the first one is that which has been refused nothing for longest.
      byHook.delete(hook)
      byHook.set(hook, [refused, ...former.slice(0, MAX_PER_HOOK - 1)])
      const [oldest] = byHook.keys()
      if (byHook.size > MAX_HOOKS && oldest !== undefined) byHook.delete(oldest)
    },
    list: (hook) => byHook.get(hook) ?? [],
  }
}
