import { expect, test } from 'vitest'
import type { ScheduleTiming, ScheduleTrigger } from '../../src/core/trigger.ts'
import { createAcceptor } from '../../src/gateway/accept.ts'
import type { CatalogEntry } from '../../src/gateway/catalog-entry.ts'
import type { Scheduler } from '../../src/gateway/schedule.ts'
import type { Worker } from '../../src/gateway/worker.ts'
import { createSpool } from '../../src/store/spool.ts'
import { openSqliteStore } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { makeFolder } from '../store/fixtures.ts'
import type { Time } from './scheduling.ts'
import {
  createScheduling,
  createTime,
  cron,
  every,
  HOUR_MS,
  MINUTE_MS,
  ready,
  schedule,
  scheduled,
} from './scheduling.ts'

const BERLIN = 'Europe/Berlin'
const LORD_HOWE = 'Australia/Lord_Howe'
const NEW_YORK = 'America/New_York'
const KOLKATA = 'Asia/Kolkata'

/** The same numbers at each run of the test. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

interface Shown {
  readonly time: number
  readonly day: string
  /** `02:30` */
  readonly clock: string
}

/** What a clock on the wall shows, minute by minute. */
function watch(timeZone: string, from: number, to: number): Shown[] {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    dateStyle: 'short',
    timeStyle: 'short',
  })
  const shown: Shown[] = []
  for (let time = from; time < to; time += MINUTE_MS) {
    const [day = '', clock = ''] = format.format(time).split(' ')
    shown.push({ time, day, clock })
  }
  return shown
}

/** Of each day the first minute at which the clock shows this time, or has gone past it. */
function findDaily(minutes: readonly Shown[], clock: string): number[] {
  const days = Map.groupBy(minutes, ({ day }) => day)
  return [...days.values()].flatMap((day) => {
    const after = day.find((minute) => minute.clock >= clock)
    return after && day[0]!.clock <= clock ? after.time : []
  })
}

const findMinutes = (minutes: readonly Shown[], step: number) =>
  minutes.filter(({ clock }) => Number(clock.slice(3)) % step === 0).map(({ time }) => time)

function findMultiples(from: number, to: number, ms: number): number[] {
  const first = Math.ceil(from / ms) * ms
  return Array.from({ length: Math.ceil((to - first) / ms) }, (_, index) => first + index * ms)
}

interface Simulated {
  readonly from: number
  readonly to: number
  readonly triggers: readonly ScheduleTrigger[]
  /** How many times the process crashes, and for how long it is gone at most. */
  readonly crashes: number
  readonly maxGoneMs: number
  /** How long a tick is waited for, to crash at it. */
  readonly patienceMs?: number
}

/** Lets time pass with a process that crashes: between ticks, before one is on record, right after it is. Returns each schedule's ticks. */
async function simulate(simulated: Simulated) {
  const { from, to, triggers, crashes, maxGoneMs, patienceMs = HOUR_MS } = simulated
  const folder = await makeFolder()
  const random = createRandom(from)
  const time = createTime(from)
  const entries = [ready(scheduled('f', ...triggers))]
  const ticks: { readonly id: string; readonly at: string }[] = []
  let restarts = 0
  let atTicks = 0
  const last = to - 1
  for (let life = 0; time.clock() < last; life += 1) {
    const wanted = time.clock() + Math.floor((random() * 2 * (to - from)) / crashes)
    const end = Math.min(wanted, last)
    const isAtTick = end < last - patienceMs ? life % 3 : 0
    const { accepted, crashed } = await live(folder, time, entries, end, isAtTick, end + patienceMs)
    ticks.push(...accepted)
    if (crashed) atTicks += 1
    restarts += 1
    if (end < last) time.set(Math.min(time.clock() + Math.floor(random() * maxGoneMs), last - 1))
  }
  return {
    restarts,
    atTicks,
    of: (name: string) => ticks.filter(({ id }) => id === `f/${name}`).map(({ at }) => at),
    count: ticks.length,
    folder,
  }
}

/** One process, up to `end`, or to the first tick after it, by `latest`: 1, it crashes before that is on record; 2, right after. */
async function live(
  folder: string,
  time: Time,
  entries: readonly CatalogEntry[],
  end: number,
  isAtTick: number,
  latest: number,
) {
  const store = await openSqliteStore({ folder, newId: () => 'the-gateway' })
  const acceptor = createAcceptor({
    store: withoutSync(store),
    spool: createSpool({ folder, clock: time.clock }),
    worker: { queued: () => 0, added: () => {} } as unknown as Worker,
    maxQueued: 1,
    newId: () => crypto.randomUUID(),
    clock: time.clock,
    called: () => {},
    isClosed: () => false,
    cancel: () => {},
  })
  const { promise: crash, resolve } = Promise.withResolvers<boolean>()
  let crashed = false
  const hang = () => {
    crashed = true
    resolve(false)
    return new Promise<never>(() => {})
  }
  const scheduling = createScheduling({
    entries,
    store,
    time,
    acceptor: {
      async acceptTriggered(request) {
        const isLast = isAtTick > 0 && time.clock() >= end
        if (isLast && isAtTick === 1) return hang()
        const triggered = await acceptor.acceptTriggered(request)
        if (isLast && triggered.kind === 'accepted') {
          const { scheduleId: id, at } = request.tick!
          scheduling.accepted.push({
            id,
            at: new Date(at).toISOString(),
            acceptedAt: time.clock(),
          })
          return hang()
        }
        return triggered
      },
    },
  })
  const { scheduler, accepted } = scheduling
  await Promise.race([scheduler.start(), crash])
  const settled = () => Promise.race([toTrue(scheduler), crash])
  await time.passTo(end, settled)
  if (isAtTick > 0) await time.passTo(latest, settled)
  time.forget()
  if (!crashed) await scheduler.close()
  await store.close()
  return { accepted, crashed }
}

/** It is the process that crashes, not the machine: what is not on the disk yet is not lost. */
function withoutSync(store: Store): Store {
  const { invocations } = store
  const { add } = invocations
  return {
    ...store,
    invocations: { ...invocations, add: (it, options) => add(it, { ...options, durable: false }) },
  }
}

async function toTrue(scheduler: Scheduler): Promise<boolean> {
  await scheduler.idle()
  return true
}

const toIso = (times: readonly number[]) => times.map((time) => new Date(time).toISOString())

function toNamed(timings: Readonly<Record<string, ScheduleTiming>>): ScheduleTrigger[] {
  return Object.entries(timings).map(([name, timing]) => schedule(timing, { name }))
}

const crashes = { crashes: 100, maxGoneMs: 10 * MINUTE_MS, patienceMs: 12 * HOUR_MS }

test(
  'over a year with both changes of summer time and a process that crashes, each tick comes once',
  { timeout: 120_000 },
  async () => {
    const from = Date.UTC(2026, 0, 1)
    const to = Date.UTC(2027, 0, 1)
    const triggers = toNamed({
      berlin: cron('30 2 * * *', BERLIN),
      howeGap: cron('15 2 * * *', LORD_HOWE),
      howeTwice: cron('45 1 * * *', LORD_HOWE),
      york: cron('30 2 * * *', NEW_YORK),
      yorkTwice: cron('30 1 * * *', NEW_YORK),
      kolkata: cron('30 2 * * *', KOLKATA),
      // Every hour of some days, those of both changes among them.
      hourly: cron('0 * 1,25,29 * *', BERLIN),
    })
    const ticked = await simulate({ from, to, triggers, ...crashes })
    const [berlin, howe, york, kolkata] = [BERLIN, LORD_HOWE, NEW_YORK, KOLKATA].map((zone) =>
      watch(zone, from, to),
    )
    expect(ticked.of('berlin')).toEqual(toIso(findDaily(berlin!, '02:30')))
    expect(ticked.of('berlin')).toHaveLength(365)
    expect(ticked.of('howeGap')).toEqual(toIso(findDaily(howe!, '02:15')))
    expect(ticked.of('howeTwice')).toEqual(toIso(findDaily(howe!, '01:45')))
    expect(ticked.of('york')).toEqual(toIso(findDaily(york!, '02:30')))
    expect(ticked.of('yorkTwice')).toEqual(toIso(findDaily(york!, '01:30')))
    expect(ticked.of('kolkata')).toEqual(toIso(findDaily(kolkata!, '02:30')))
    const someDays = berlin!.filter(({ day }) => /-(?:01|25|29)$/.test(day))
    expect(ticked.of('hourly')).toEqual(toIso(findMinutes(someDays, 60)))
    // Of March one hour is left out, of October one comes twice.
    expect(ticked.of('hourly')).toHaveLength((12 + 12 + 11) * 24)
    expect(ticked.of('hourly')).toContain('2026-10-25T00:00:00.000Z')
    expect(ticked.of('hourly')).toContain('2026-10-25T01:00:00.000Z')
    expect(ticked.restarts).toBeGreaterThan(90)
    expect(ticked.atTicks).toBeGreaterThan(50)
  },
)

test.each([
  ['forward', Date.UTC(2026, 2, 27), Date.UTC(2026, 2, 31), Date.UTC(2026, 9, 2)],
  ['back', Date.UTC(2026, 9, 23), Date.UTC(2026, 9, 27), Date.UTC(2026, 3, 3)],
])(
  'while the clocks are put %s, what comes every few minutes or seconds does so once and without a hole',
  { timeout: 60_000 },
  async (_, from, to, fromThere) => {
    const some = { crashes: 12, maxGoneMs: 6 * MINUTE_MS }
    const triggers = toNamed({
      quarters: cron('*/15 * * * *', BERLIN),
      sevenths: every(7 * MINUTE_MS),
    })
    const here = await simulate({ from, to, triggers, ...some })
    expect(here.of('quarters')).toEqual(toIso(findMinutes(watch(BERLIN, from, to), 15)))
    expect(here.of('quarters')).toEqual(toIso(findMultiples(from, to, 15 * MINUTE_MS)))
    expect(here.of('sevenths')).toEqual(toIso(findMultiples(from, to, 7 * MINUTE_MS)))
    expect(here.atTicks).toBeGreaterThan(4)

    const toThere = fromThere + to - from
    const there = await simulate({
      from: fromThere,
      to: toThere,
      triggers: toNamed({ quarters: cron('*/15 * * * *', LORD_HOWE) }),
      ...some,
    })
    expect(there.of('quarters')).toEqual(toIso(findMultiples(fromThere, toThere, 15 * MINUTE_MS)))

    // Around the change: 01:00 UTC.
    const night = { from: from + 48 * HOUR_MS, to: from + 50 * HOUR_MS }
    const seconds = await simulate({
      ...night,
      triggers: toNamed({ tenths: cron('*/10 * * * * *', BERLIN) }),
      crashes: 20,
      maxGoneMs: 9_000,
    })
    expect(seconds.of('tenths')).toEqual(toIso(findMultiples(night.from, night.to, 10_000)))
  },
)
