import { OneshotError } from '../core/error.ts'

export interface AdmissionOptions {
  /** The most that run at once, of all functions together. */
  readonly concurrency: number
  /** The most that wait, of all functions together. */
  readonly queueLength: number
}

export interface Admission {
  /**
   * Waits for a slot. Returns what gives it back; calling that twice gives back once. Rejects with `queue_full`, or
   * with the signal's reason if that comes first.
   */
  acquire(key: string, limit: number | undefined, signal: AbortSignal): Promise<() => void>
  counts(): { readonly running: number; readonly waiting: number }
}

interface Lane {
  running: number
  limit: number
  readonly waiting: Set<Waiter>
}

interface Waiter {
  admit(): void
}

/** First come, first served within a key; between keys that wait, each in turn gets the next slot. */
export function createAdmission({ concurrency, queueLength }: AdmissionOptions): Admission {
  const lanes = new Map<string, Lane>()
  let running = 0
  let waiting = 0

  function acquire(
    key: string,
    limit: number | undefined,
    signal: AbortSignal,
  ): Promise<() => void> {
    if (signal.aborted) return Promise.reject(signal.reason)
    const lane = lanes.get(key) ?? { running: 0, limit: Infinity, waiting: new Set() }
    // A changed definition's new limit holds from its next call on, for those that wait as well.
    const isRaised = lane.limit < (limit ?? Infinity)
    lane.limit = limit ?? Infinity
    lanes.set(key, lane)
    if (isRaised) while (admitNext());
    if (lane.waiting.size === 0 && hasRoom(lane)) return Promise.resolve(take(key, lane))
    if (waiting >= queueLength) {
      drop(key, lane)
      const detail = `All ${concurrency} slots are taken and ${queueLength} calls wait already: try again later.`
      return Promise.reject(new OneshotError('queue_full', detail, { retryAfterSeconds: 1 }))
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        signal.removeEventListener('abort', onAbort)
        lane.waiting.delete(waiter)
        waiting -= 1
      }
      const waiter: Waiter = {
        admit() {
          leave()
          resolve(take(key, lane))
        },
      }
      const onAbort = () => {
        leave()
        drop(key, lane)
        reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      lane.waiting.add(waiter)
      waiting += 1
    })
  }

  function hasRoom(lane: Lane): boolean {
    return running < concurrency && lane.running < lane.limit
  }

  function take(key: string, lane: Lane): () => void {
    lane.running += 1
    running += 1
    let given = false
    return () => {
      if (given) return
      given = true
      lane.running -= 1
      running -= 1
      drop(key, lane)
      while (admitNext());
    }
  }

  function drop(key: string, lane: Lane): void {
    if (lane.running === 0 && lane.waiting.size === 0) lanes.delete(key)
  }

  /** Admits the call that is next in turn; false if none can be. */
  function admitNext(): boolean {
    for (const [key, lane] of lanes) {
      const [next] = lane.waiting
      if (!next || !hasRoom(lane)) continue
      // To the end of the order: the other lanes come first next time.
      lanes.delete(key)
      lanes.set(key, lane)
      next.admit()
      return true
    }
    return false
  }

  return { acquire, counts: () => ({ running, waiting }) }
}
