import type { ServerResponse } from 'node:http'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import type { Caller } from '../core/access.ts'
import { toCounted } from '../core/address.ts'
import { OneshotError } from '../core/error.ts'
import type { Rate } from '../core/rate.ts'

/** So many are told apart at once, of callers and of addresses; those beyond that are counted as one. */
const MAX_COUNTED = 20_000

export interface RateLimits {
  /** Counts a request of a caller who has shown who he is. Rejects with `rate_limited`. */
  byCaller(caller: Caller, outgoing: ServerResponse): Promise<void>
  /** Counts one without valid credentials. Rejects with `rate_limited`. */
  byAddress(address: string, outgoing: ServerResponse): Promise<void>
}

export interface RateLimitOptions {
  /** Of each key without a rate of its own; undefined: any number. */
  readonly perKey: Rate | undefined
  readonly perAddress: Rate | undefined
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly maxCounted?: number
}

export function createRateLimits(options: RateLimitOptions): RateLimits {
  const { perKey, perAddress, clock, maxCounted = MAX_COUNTED } = options
  const ofAddresses = perAddress && createCounter(perAddress, clock, maxCounted)
  /** One for each rate that keys have: as many as the operator has written. */
  const ofCallers = new Map<string, Counter>()

  function counterOf(rate: Rate): Counter {
    const key = `${rate.count}/${rate.perMs}`
    const known = ofCallers.get(key) ?? createCounter(rate, clock, maxCounted)
    ofCallers.set(key, known)
    return known
  }

  return {
    async byCaller({ kind, name, rate = perKey }, outgoing) {
      if (rate) await counterOf(rate)(`${kind}:${name}`, outgoing)
    },
    async byAddress(address, outgoing) {
      await ofAddresses?.(toCounted(address), outgoing)
    },
  }
}

type Counter = (key: string, outgoing: ServerResponse) => Promise<void>

function createCounter(rate: Rate, clock: () => number, maxCounted: number): Counter {
  const windowSeconds = rate.perMs / 1000
  const limiter = new RateLimiterMemory({ points: rate.count, duration: windowSeconds })
  /** Whom it counts, and until when: those that it forgets first come first. */
  const counted = new Map<string, number>()

  /** However many come, of whatever addresses, no more is held of them. */
  function toKey(key: string): string {
    const now = clock()
    for (const [each, until] of counted) {
      if (until > now) break
      counted.delete(each)
    }
    if (counted.has(key)) return `=${key}`
    if (counted.size >= maxCounted) return 'others'
    counted.set(key, now + rate.perMs)
    return `=${key}`
  }

  return async (key, outgoing) => {
    try {
      const { remainingPoints, msBeforeNext } = await limiter.consume(toKey(key))
      tell(outgoing, remainingPoints, msBeforeNext)
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error
      tell(outgoing, 0, error.msBeforeNext)
      throw new OneshotError(
        'rate_limited',
        `At most ${rate.count} requests in ${windowSeconds} s are taken of you: wait for as long as Retry-After says.`,
        { retryAfterSeconds: toSeconds(error.msBeforeNext) },
      )
    }
  }

  /** After draft-ietf-httpapi-ratelimit-headers-10. */
  function tell(outgoing: ServerResponse, left: number, ms: number): void {
    outgoing.setHeader('RateLimit-Policy', `"default";q=${rate.count};w=${windowSeconds}`)
    outgoing.setHeader('RateLimit', `"default";r=${left};t=${toSeconds(ms)}`)
  }
}

function toSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000))
}
