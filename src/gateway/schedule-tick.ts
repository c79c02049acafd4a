import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import { parseParameters } from '../core/parameters.ts'
import { lastTick, nextTick, toTickEnvironment } from '../core/schedule.ts'
import type { OverlapPolicy, ScheduleTrigger } from '../core/trigger.ts'
import type { Store } from '../store/store.ts'
import type { Acceptor, TriggeredRequest } from './accept.ts'

/** `missed`: one tick or several in a row, for which nothing is run. */
export type TickOutcome = 'accepted' | 'dropped' | 'missed'

export interface TickerDeps {
  readonly store: Pick<Store, 'schedules'>
  readonly acceptor: Pick<Acceptor, 'acceptTriggered'>
  readonly observer: { ticked(functionName: string, outcome: TickOutcome): void }
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly logger: Logger
}

/** A schedule of a function, and how far it has come. Times are milliseconds since the epoch. */
export interface ScheduleJob {
  /** As `toScheduleId` gives it. */
  readonly id: string
  readonly fingerprint: string
  spec: FunctionSpec
  trigger: ScheduleTrigger
  /** The definition is; the others are those of before. */
  isBroken: boolean
  /** It is not defined any more, or has another timing now. */
  isRemoved: boolean
  /** No tick before it counts. */
  since: number
  /** The latest that has been dealt with. */
  lastTick?: number
  lastInvocationId?: string
  /** When it is to be looked at. */
  dueAt: number
  /** How often in a row what is due could not be accepted, and why. */
  failures: number
  failure?: string
}

/** Deals with the ticks of one schedule that are due, in order, and says in `dueAt` when to come again. Never rejects. */
export type Ticker = (job: ScheduleJob, isClosed: () => boolean) => Promise<void>

/** Later than this, a tick is not merely late, as with a process that is busy, but has been missed. */
const ON_TIME_MS = 5_000
const MIN_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 30_000
/** They may go by themselves, or leave it to the next process; anything else that is refused is refused again. */
const PASSING = new Set([
  'queue_full',
  'storage_full',
  'data_locked',
  'data_unusable',
  'internal',
  'shutting_down',
])
const ON_OVERLAP = {
  skip: 'drop',
  queue: 'queue',
  replace: 'replace',
} as const satisfies Record<ScheduleTrigger['overlap'], OverlapPolicy>

export function createTicker(deps: TickerDeps): Ticker {
  const { store, acceptor, observer, newId, clock, logger } = deps

  return async function dealWith(job, isClosed) {
    try {
      for (let isMore = true; isMore && !isClosed() && !job.isRemoved;) isMore = await step(job)
    } catch (error) {
      postpone(job, error)
    }
  }

  /** False: nothing is due by now. */
  async function step(job: ScheduleJob): Promise<boolean> {
    const { timing } = job.trigger
    const now = clock()
    const next = nextTick(timing, toPassed(job))
    if (next === undefined || next > now) {
      job.dueAt = next ?? Infinity
      return false
    }
    if (next > now - ON_TIME_MS) await take(job, next)
    else await makeUp(job, next, now)
    return true
  }

  /** For the latest of those that were missed, the first of which is `first`. */
  async function makeUp(job: ScheduleJob, first: number, now: number): Promise<void> {
    const { timing, catchUp, maxLatenessMs } = job.trigger
    const latest = lastTick(timing, toPassed(job), now - ON_TIME_MS) ?? first
    // What could not be accepted was not missed.
    const isWanted = catchUp === 'once' || job.failures > 0
    if (!isWanted || now - latest > maxLatenessMs) {
      await miss(job, latest, job.failure ?? 'the gateway was down or busy, or the clock jumped')
      return
    }
    await take(job, latest)
    if (first < latest) tellMissed(job, latest - 1, 'a later one was made up for')
  }

  async function take(job: ScheduleJob, tick: number): Promise<void> {
    if (job.isBroken) {
      await miss(job, tick, "the function's definition is broken")
      return
    }
    try {
      const triggered = await acceptor.acceptTriggered(toRequest(job, tick))
      if (triggered.kind === 'ticked') await reread(job, tick)
      else {
        if (triggered.kind === 'accepted') job.lastInvocationId = triggered.id
        const outcome = triggered.kind === 'accepted' ? 'accepted' : 'dropped'
        observer.ticked(job.spec.name, outcome)
        logger.debug({ ...about(job, tick), ...triggered }, 'a schedule has ticked')
        done(job, tick)
      }
    } catch (error) {
      if (!isRefusal(error)) throw error
      await miss(job, tick, error.message)
    }
  }

  function toRequest({ id, spec, trigger }: ScheduleJob, tick: number): TriggeredRequest {
    const { name, parameters, body, overlap } = trigger
    return {
      spec,
      parameters: parseParameters(spec.parameters, { json: parameters }),
      environment: toTickEnvironment(trigger, tick),
      input: body === undefined ? undefined : toStream(body),
      callId: newId(),
      labels: [`schedule:${name}`],
      trigger: { type: 'schedule', name },
      group: { key: `schedule:${id}`, max: 1 },
      overlap: ON_OVERLAP[overlap],
      tick: { scheduleId: id, at: tick },
    }
  }

  /** The store knows of a tick that this process does not know of. */
  async function reread(job: ScheduleJob, tick: number): Promise<void> {
    const record = await store.schedules.find(job.id)
    // The record is that of what has taken its place.
    if (job.isRemoved) return
    if (record?.fingerprint === job.fingerprint) {
      job.since = record.since
      if (record.lastInvocationId !== undefined) job.lastInvocationId = record.lastInvocationId
      done(job, Math.max(tick, record.lastTick ?? tick))
      return
    }
    const { id, fingerprint } = job
    await store.schedules.register({ id, fingerprint, since: clock() })
    done(job, tick)
  }

  async function miss(job: ScheduleJob, tick: number, reason: string): Promise<void> {
    await store.schedules.pass(job.id, tick)
    done(job, tick)
    tellMissed(job, tick, reason)
  }

  function tellMissed(job: ScheduleJob, upTo: number, reason: string): void {
    observer.ticked(job.spec.name, 'missed')
    logger.warn({ ...about(job, upTo), reason }, 'ticks of a schedule were missed')
  }

  function done(job: ScheduleJob, tick: number): void {
    job.lastTick = tick
    job.failures = 0
    delete job.failure
  }

  function postpone(job: ScheduleJob, error: unknown): void {
    const isKnown = error instanceof OneshotError
    job.failure = isKnown ? error.message : 'The gateway failed: its log says at what.'
    const pause = Math.min(MIN_PAUSE_MS * 2 ** job.failures, MAX_PAUSE_MS)
    job.failures += 1
    job.dueAt = clock() + pause
    const level = isKnown && job.failures > 1 ? 'debug' : 'warn'
    logger[level](
      { schedule: job.id, ...(isKnown ? { code: error.code } : { err: error }) },
      'a tick of a schedule could not be accepted; trying again',
    )
  }
}

/** All ticks up to it are dealt with, or do not count. */
export function toPassed({ since, lastTick: last }: Pick<ScheduleJob, 'since' | 'lastTick'>) {
  return Math.max(since - 1, last ?? -Infinity)
}

function isRefusal(error: unknown): error is OneshotError {
  if (!(error instanceof OneshotError)) return false
  return !PASSING.has(error.code)
}

function about({ id }: ScheduleJob, tick: number) {
  return { schedule: id, tick: new Date(tick).toISOString() }
}

async function* toStream(body: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(body)
}
