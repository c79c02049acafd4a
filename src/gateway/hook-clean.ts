import type { Logger } from 'pino'
import type { HookStore } from '../store/store.ts'

/** How long a delivery is remembered, so that its duplicate is known: no provider tries again for longer. */
const REMEMBER_MS = 3 * 24 * 60 * 60_000
/** As many at once: nothing else is to wait for it. */
const BATCH = 100
/** Of all bodies together. They are for looking at, and for sending again. */
const MAX_BODIES_BYTES = 256 * 1024 ** 2
/** Those by which no duplicate is known: skipped, invalid, answered, and duplicates themselves. */
const MAX_KEYLESS = 1000
/** One every 2.6 s for three days. Who sends more has his duplicates known for as long as so many have not come after them. */
const MAX_PER_HOOK = 100_000
const MIN_PER_HOOK = 1000
/** What a record takes up as a rule. The calls' own records would have to go for more of them than there is room for. */
const RECORD_BYTES = 4096

/** Forgets deliveries that are too old, and what is too much of the others. `maxBytes` is how much room there is for all that is kept, calls as well. */
export async function cleanHooks(
  hooks: Pick<HookStore, 'removeBefore' | 'trim'>,
  now: number,
  maxBytes: number,
  logger: Logger,
  isClosed: () => boolean,
): Promise<void> {
  for (let isMore = true; isMore && !isClosed();) {
    isMore = (await hooks.removeBefore(now - REMEMBER_MS, BATCH)) === BATCH
  }
  await trimHooks(hooks, maxBytes, logger)
}

/** What is too much alone. */
export async function trimHooks(
  hooks: Pick<HookStore, 'trim'>,
  maxBytes: number,
  logger: Logger,
): Promise<void> {
  const share = Math.floor(maxBytes / 4)
  const maxPerHook = Math.max(
    Math.min(MAX_PER_HOOK, Math.floor(share / RECORD_BYTES)),
    MIN_PER_HOOK,
  )
  const removed = await hooks.trim({
    maxBytes: Math.min(MAX_BODIES_BYTES, share),
    maxKeyless: MAX_KEYLESS,
    maxPerHook,
  })
  if (removed === 0) return
  const message = 'a webhook gets more than is remembered: forgot its oldest deliveries'
  logger.warn({ removed, maxPerHook }, message)
}
