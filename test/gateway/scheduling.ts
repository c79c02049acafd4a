import { pino } from 'pino'
import { v7 as makeId } from 'uuid'
import type { FunctionSpec } from '../../src/core/function.ts'
import type { ScheduleTiming, ScheduleTrigger } from '../../src/core/trigger.ts'
import type { Acceptor, TriggeredRequest } from '../../src/gateway/accept.ts'
import type { CatalogEntry } from '../../src/gateway/catalog-entry.ts'
import type { SchedulerDeps } from '../../src/gateway/schedule.ts'
import { createScheduler } from '../../src/gateway/schedule.ts'
import { functionSpec } from '../function-spec.ts'
import { startGateway } from './start-gateway.ts'

export const MINUTE_MS = 60_000
export const HOUR_MS = 60 * MINUTE_MS

export const cron = (expression: string, timezone = 'UTC'): ScheduleTiming => ({
  kind: 'cron',
  expression,
  timezone,
})
export const every = (everyMs: number): ScheduleTiming => ({ kind: 'every', everyMs })

export function schedule(
  timing: ScheduleTiming,
  overrides: Partial<ScheduleTrigger> = {},
): ScheduleTrigger {
  return {
    type: 'schedule',
    name: 'nightly',
    timing,
    overlap: 'queue',
    catchUp: 'once',
    maxLatenessMs: HOUR_MS,
    parameters: {},
    ...overrides,
  }
}

export function scheduled(name: string, ...triggers: readonly ScheduleTrigger[]): FunctionSpec {
  return functionSpec({ name, triggers })
}

export function ready(spec: FunctionSpec): CatalogEntry {
  const file = `${spec.name}.yml`
  const { name } = spec
  return { name, origin: 'file', file, state: 'ready', spec, source: {}, warnings: [] }
}

export function broken(name: string): CatalogEntry {
  const file = `${name}.yml`
  return { name, origin: 'file', file, state: 'broken', problems: [], warnings: [] }
}

/** Time that passes when the test says so, and the timers that wait in it. */
export function createTime(start: number) {
  let now = start
  let timers: { at: number; readonly act: () => void }[] = []
  return {
    clock: () => now,
    waiting: () => timers.length,
    /** The clock jumps; timers don't. */
    set(time: number): void {
      timers = timers.map((it) => Object.assign(it, { at: it.at + time - now }))
      now = time
    },
    /** All that wait: what a process leaves when it ends. */
    forget(): void {
      timers = []
    },
    setTimer(act: () => void, ms: number) {
      const timer = { at: now + ms, act }
      timers.push(timer)
      return () => {
        timers = timers.filter((it) => it !== timer)
      }
    },
    /** Has all timers up to `time` act, each at its own time, and waits for what each has caused; `false` from there ends it. */
    async passTo(time: number, settled: () => Promise<boolean | void>): Promise<void> {
      while ((await settled()) !== false) {
        const first = timers.reduce<(typeof timers)[number] | undefined>(
          (best, it) => (best && best.at <= it.at ? best : it),
          undefined,
        )
        if (!first || first.at > time) {
          now = Math.max(now, time)
          return
        }
        timers = timers.filter((it) => it !== first)
        now = Math.max(now, first.at)
        first.act()
      }
    },
  }
}

export type Time = ReturnType<typeof createTime>

export interface Ticked {
  /** As `toScheduleId` gives it. */
  readonly id: string
  /** The time of the tick. */
  readonly at: string
  /** When it was accepted. */
  readonly acceptedAt: number
}

interface SchedulingOptions {
  readonly entries: readonly CatalogEntry[]
  readonly store: SchedulerDeps['store']
  readonly acceptor: Pick<Acceptor, 'acceptTriggered'>
  readonly time: Time
  readonly newId?: () => string
}

/** A scheduler, all that it has accepted, and what it has told of. */
export function createScheduling({ entries, store, acceptor, time, newId }: SchedulingOptions) {
  const accepted: Ticked[] = []
  const outcomes: string[] = []
  const logs: Record<string, unknown>[] = []
  let listed = entries
  /** What the acceptor does first, such as throwing. */
  let before: (request: TriggeredRequest) => Promise<void> | void = () => {}
  const scheduler = createScheduler({
    catalog: { list: () => [...listed] },
    store,
    acceptor: {
      async acceptTriggered(request) {
        await before(request)
        const triggered = await acceptor.acceptTriggered(request)
        const { scheduleId: id, at } = request.tick!
        if (triggered.kind === 'accepted') {
          accepted.push({ id, at: new Date(at).toISOString(), acceptedAt: time.clock() })
        }
        return triggered
      },
    },
    observer: { ticked: (functionName, outcome) => outcomes.push(`${functionName} ${outcome}`) },
    newId: newId ?? (() => crypto.randomUUID()),
    clock: time.clock,
    setTimer: time.setTimer,
    logger: pino(
      { level: 'debug' },
      { write: (line) => void logs.push(JSON.parse(line) as Record<string, unknown>) },
    ),
  })
  return {
    scheduler,
    accepted,
    outcomes,
    logs,
    before(act: typeof before): void {
      before = act
    },
    async define(...now: readonly CatalogEntry[]): Promise<void> {
      listed = now
      scheduler.wake()
      await scheduler.idle()
    },
    passTo: (at: number) => time.passTo(at, scheduler.idle),
    pass: (ms: number) => time.passTo(time.clock() + ms, scheduler.idle),
    /** The times of the ticks that were accepted. */
    ticks: () => accepted.map(({ at }) => at),
  }
}

/** Midnight of 1 June 2026. */
export const START = Date.UTC(2026, 5, 1)
/** As ISO 8601, on that day. */
export const at = (clock: string) => new Date(`2026-06-01T${clock}Z`).toISOString()
export const hourly = (overrides: Partial<ScheduleTrigger> = {}) =>
  scheduled('f', schedule(cron('@hourly'), overrides))

interface StartOptions {
  readonly time?: ReturnType<typeof createTime>
  readonly folder?: string
  /** Whether what is accepted is run. */
  readonly runs?: boolean
}

/** At half past midnight, on a real store. */
export async function startScheduling(
  specs: readonly FunctionSpec[],
  { time = createTime(START + 30 * MINUTE_MS), folder, runs = false }: StartOptions = {},
) {
  const gateway = await startGateway({
    specs,
    clock: time.clock,
    newId: makeId,
    ...(folder !== undefined && { folder }),
  })
  if (runs) await gateway.gateway.start()
  const { store, acceptor } = gateway
  const scheduling = createScheduling({ entries: specs.map(ready), store, acceptor, time })
  await scheduling.scheduler.start()
  const states = async () => {
    const listed = await store.invocations.list({}, { limit: 100 })
    return listed.map(({ state }) => state).toReversed()
  }
  return {
    ...gateway,
    ...scheduling,
    time,
    states,
    /** Ends this process: what it had accepted is in the store. */
    async end() {
      await scheduling.scheduler.close()
      await gateway.stop()
    },
  }
}
