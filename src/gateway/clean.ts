import type { Logger } from 'pino'
import type { Spool, Store } from '../store/store.ts'
import { cleanHooks } from './hook-clean.ts'

export interface CleanerDeps {
  readonly store: Store
  readonly spool: Spool
  /** How long what has ended is remembered. */
  readonly retentionMs: number
  /** How much of it there may be, in files and in the store. */
  readonly maxBytes: number
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly logger: Logger
}

export interface Cleaner {
  /** Cleans now. Never rejects: what is left is for the next time. */
  clean(): Promise<void>
  close(): void
}

const INTERVAL_MS = 60_000
/** As many at once: calls are not to wait for it. */
const BATCH = 100
/** By size it is looked after each: they may be large. */
const SMALL_BATCH = 4
/** Draft of the Idempotency-Key header: a server says how long it remembers. */
const KEY_MS = 24 * 60 * 60_000

/** Forgets what is too old, and the oldest of what is too much: calls, and deliveries to webhooks. */
export function startCleaner(deps: CleanerDeps): Cleaner {
  const { store, spool, retentionMs, maxBytes, clock, logger } = deps
  let cleaning: Promise<void> | undefined
  let closed = false
  let isWarned = false
  const isClosed = () => closed

  async function cleanOnce(): Promise<void> {
    try {
      await store.invocations.removeKeysBefore(clock() - KEY_MS)
      await cleanHooks(store.hooks, clock(), maxBytes, logger, isClosed)
      await removeOld()
      await removeExcess()
    } catch (error) {
      logger.warn({ err: error }, 'cleaning the data folder failed')
    }
  }

  async function removeOld(): Promise<void> {
    const time = clock() - retentionMs
    for (let isMore = true; isMore && !isClosed();) {
      const ids = await store.invocations.removeSettledBefore(time, BATCH)
      await spool.remove(ids)
      isMore = ids.length === BATCH
    }
  }

  /** What may not be forgotten does not count: however much that is, nothing else is forgotten for it. */
  async function removeExcess(): Promise<void> {
    const used = store.usedBytes() + (await spool.usedBytes())
    if (used <= maxBytes) {
      isWarned = false
      return
    }
    const storeBytes = store.usedBytes()
    const kept = new Set<string>()
    let left = storeBytes
    for await (const { id, bytes } of store.invocations.listKept()) {
      kept.add(id)
      left -= bytes
    }
    left += await spool.usedBytes(kept)
    if (left <= maxBytes) {
      if (!isWarned) {
        logger.warn({ used, maxBytes }, 'the data folder is full of what waits, runs or is sent')
      }
      isWarned = true
      return
    }
    const time = clock()
    let removed = 0
    let fileBytes = 0
    const isTooMuch = () => left - fileBytes - (storeBytes - store.usedBytes()) > maxBytes * 0.9
    while (!isClosed() && isTooMuch()) {
      const ids = await store.invocations.removeSettledBefore(time, SMALL_BATCH)
      if (ids.length === 0) break
      fileBytes += await spool.remove(ids)
      removed += ids.length
    }
    logger.warn({ removed, maxBytes }, 'the data folder is full: forgot the oldest calls')
  }

  function clean(): Promise<void> {
    cleaning ??= cleanOnce().finally(() => {
      cleaning = undefined
    })
    return cleaning
  }

  const timer = setInterval(() => void clean(), INTERVAL_MS)
  timer.unref()
  void clean()
  return {
    clean,
    close() {
      closed = true
      clearInterval(timer)
    },
  }
}
