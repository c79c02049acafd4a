import { OneshotError } from '../core/error.ts'

export interface AdmissionOptions {
  /** The most that run at once, of all functions together. */
  readonly concurrency: number
  /** The most that wait, of all functions together. */
  readonly queueLength: number
}

export interface Admission {
  /**
   * A slot, or the wait for one: what gives it back; calling that twice gives back once. Throws `queue_full`. The wait rejects
   * with the signal's reason if that comes first.
   */
  acquire(key: string, limit: number | undefined, signal: AbortSignal): Release | Promise<Release>
  /** A slot that is free now, and that no call waits for. */
  tryAcquire(key: string, limit: number | undefined): Release | undefined
  /** Tells, from now on, each time that a slot has become free which no call waits for. */
  onRoom(listener: () => void): void
  counts(): { readonly running: number; readonly waiting: number }
}

export type Release = () => void

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
  const listeners: (() => void)[] = []
  let running = 0
  let waiting = 0

  function acquire(
    key: string,
    limit: number | undefined,
    signal: AbortSignal,
  ): Release | Promise<Release> {
    if (signal.aborted) return Promise.reject(signal.reason)
    const release = tryAcquire(key, limit)
    if (release) return release
    if (waiting >= queueLength) {
      const detail = `All ${concurrency} slots are taken and ${queueLength} calls wait already: try again later.`
      throw new OneshotError('queue_full', detail, { retryAfterSeconds: 1 })
    }
    const lane = getLane(key)
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

  function tryAcquire(key: string, limit: number | undefined): Release | undefined {
    const lane = getLane(key)
    // A changed definition's new limit holds from its next call on, for those that wait as well.
    const isRaised = lane.limit < (limit ?? Infinity)
    lane.limit = limit ?? Infinity
    if (isRaised) while (admitNext());
    if (lane.waiting.size === 0 && hasRoom(lane)) return take(key, lane)
    drop(key, lane)
    return undefined
  }

  function getLane(key: string): Lane {
    const lane = lanes.get(key) ?? { running: 0, limit: Infinity, waiting: new Set() }
    lanes.set(key, lane)
    return lane
  }

  function hasRoom(lane: Lane): boolean {
    return running < concurrency && lane.running < lane.limit
  }

  function take(key: string, lane: Lane): Release {
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
      if (running < concurrency) for (const listener of listeners) listener()
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

  return {
    acquire,
    tryAcquire,
    onRoom: (listener) => void listeners.push(listener),
    counts: () => ({ running, waiting }),
  }
}
