import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { FunctionSpec } from '../core/function.ts'
import type { InvocationState } from '../core/invocation.ts'
import { nextTick, toFingerprint } from '../core/schedule.ts'
import type { ScheduleTrigger } from '../core/trigger.ts'
import { toScheduleId } from '../core/trigger.ts'
import type { Store } from '../store/store.ts'
import type { Catalog } from './catalog.ts'
import type { DueQueue } from './due-queue.ts'
import { createDueQueue } from './due-queue.ts'
import type { ScheduleJob, TickerDeps } from './schedule-tick.ts'
import { createTicker, toPassed } from './schedule-tick.ts'

export interface SchedulerDeps extends TickerDeps {
  readonly catalog: Pick<Catalog, 'list'>
  readonly store: Pick<Store, 'schedules' | 'invocations'>
  /** Has `act` called once, after so many milliseconds. Returns what prevents it. */
  readonly setTimer?: (act: () => void, ms: number) => () => void
  readonly logger: Logger
}

/** Times are milliseconds since the epoch. */
export interface ScheduleStatus {
  readonly functionName: string
  readonly trigger: ScheduleTrigger
  /** The latest that was dealt with, whatever has come of it. */
  readonly lastTick?: number
  /** The latest that was made. Without a state it has been forgotten. */
  readonly lastInvocation?: { readonly id: string; readonly state?: InvocationState }
  readonly nextTicks: readonly number[]
  readonly problems: readonly string[]
}

/** Makes the invocations of the schedules in all definitions: one of each tick, whatever becomes of this process. */
export interface Scheduler {
  /** What was missed while no process ran is dealt with first. Never rejects. */
  start(): Promise<void>
  /** Definitions have changed. */
  wake(): void
  /** By function and name. */
  list(functionName?: string): Promise<readonly ScheduleStatus[]>
  /** Fulfilled once nothing is under way. */
  idle(): Promise<void>
  /** Takes no more ticks: they are left to the next process. */
  close(): Promise<void>
}

interface Defined {
  readonly id: string
  readonly spec: FunctionSpec
  readonly trigger: ScheduleTrigger
}

/** A suspended machine stops timers, and clocks jump: that is noticed after so long. */
const MAX_WAIT_MS = 60_000
/** Ticks that are accepted at once: the store writes them together. */
const MAX_UNDER_WAY = 64
const RETRY_MS = 5_000
/** The clock of a machine is now and then put back a little. */
const SET_BACK_MS = 60_000
const NEXT_TICKS = 5
/** Takes the place of a timing's fingerprint: if the schedule comes again, it is a new one. */
const REMOVED = 'removed'

export function createScheduler(deps: SchedulerDeps): Scheduler {
  const { catalog, store, clock, setTimer = startTimer, logger } = deps
  const deal = createTicker(deps)
  const jobs = new Map<string, ScheduleJob>()
  /** All that are not under way. */
  let due: DueQueue<ScheduleJob> = createDueQueue()
  const underWay = new Map<ScheduleJob, Promise<void>>()
  let isStarted = false
  let isClosed = false
  const isOver = () => isClosed
  let cancelTimer = (): void => {}
  let cancelRetry = (): void => {}
  let following: Promise<void> | undefined
  let isChanged = false
  /** The latest that the clock has shown. */
  let seen = -Infinity

  function turn(): void {
    if (isClosed) return
    cancelTimer()
    const now = clock()
    if (now < seen) follow()
    seen = now
    let next = due.first()
    while (next && next.dueAt <= now && underWay.size < MAX_UNDER_WAY) {
      begin(due.take()!)
      next = due.first()
    }
    // One that is due already waits for room, and whatever makes room looks again.
    const waitMs = next && next.dueAt > now ? next.dueAt - now : MAX_WAIT_MS
    cancelTimer = setTimer(turn, Math.min(waitMs, MAX_WAIT_MS))
  }

  function begin(job: ScheduleJob): void {
    underWay.set(job, dealWith(job))
  }

  async function dealWith(job: ScheduleJob): Promise<void> {
    await deal(job, isOver)
    underWay.delete(job)
    if (!job.isRemoved) due.add(job)
    turn()
  }

  /** Takes over what the definitions say now. */
  function follow(): void {
    if (isClosed) return
    isChanged = true
    following ??= followAll()
  }

  async function followAll(): Promise<void> {
    while (isChanged && !isOver()) {
      isChanged = false
      cancelRetry()
      try {
        await update()
      } catch (error) {
        logger.error({ err: error }, 'the schedules could not be taken over; trying again')
        cancelRetry = setTimer(follow, RETRY_MS)
      }
      due = createDueQueue()
      for (const job of jobs.values()) if (!underWay.has(job)) due.add(job)
      turn()
    }
    following = undefined
  }

  async function update(): Promise<void> {
    const entries = catalog.list()
    const broken = new Set(entries.flatMap((it) => (it.state === 'broken' ? it.name : [])))
    const specs = entries.flatMap((it) => (it.state === 'ready' ? it.spec : []))
    const defined = new Map(specs.flatMap(toDefined).map((it) => [it.id, it]))
    const writes: (() => Promise<void>)[] = []
    for (const job of jobs.values()) {
      if (defined.has(job.id)) continue
      job.isBroken = broken.has(job.spec.name)
      if (!job.isBroken) writes.push(() => remove(job))
    }
    for (const it of defined.values()) {
      const job = jobs.get(it.id)
      if (job?.fingerprint !== toFingerprint(it.trigger.timing)) writes.push(() => add(it))
      else {
        Object.assign(job, { spec: it.spec, trigger: it.trigger, isBroken: false })
        if (isAhead(job)) writes.push(() => add(it))
      }
    }
    await doAll(writes, isOver)
  }

  /** It begins anew, or goes on where a former process has left it. */
  async function add({ id, spec, trigger }: Defined): Promise<void> {
    const fingerprint = toFingerprint(trigger.timing)
    let record = await store.schedules.find(id)
    if (record?.fingerprint !== fingerprint || isAhead(record)) {
      record = { id, fingerprint, since: clock() }
      await store.schedules.register(record)
    }
    const former = jobs.get(id)
    if (former) former.isRemoved = true
    jobs.set(id, {
      ...record,
      spec,
      trigger,
      isBroken: false,
      isRemoved: false,
      dueAt: nextTick(trigger.timing, toPassed(record)) ?? Infinity,
      failures: 0,
    })
    const problem = findClockProblem(record)
    if (problem !== undefined) logger.warn({ schedule: id }, problem)
  }

  /** The clock was ahead when it began, and no tick that has come forbids to begin anew. */
  function isAhead({ since, lastTick }: Pick<ScheduleJob, 'since' | 'lastTick'>): boolean {
    return lastTick === undefined && since > clock()
  }

  /** No tick is to come twice. */
  function findClockProblem({ lastTick }: Pick<ScheduleJob, 'lastTick'>): string | undefined {
    if (lastTick === undefined || lastTick <= clock() + SET_BACK_MS) return undefined
    return `The clock was ahead: nothing is run until ${new Date(lastTick).toISOString()}. Under another name, or with another timing, it begins anew.`
  }

  async function remove(job: ScheduleJob): Promise<void> {
    job.isRemoved = true
    jobs.delete(job.id)
    await store.schedules.register({ id: job.id, fingerprint: REMOVED, since: clock() })
  }

  async function list(functionName?: string): Promise<readonly ScheduleStatus[]> {
    const wanted = [...jobs.values()]
      .filter(({ spec }) => functionName === undefined || spec.name === functionName)
      .sort((a, b) => (a.id < b.id ? -1 : 1))
    const statuses: ScheduleStatus[] = []
    for (const [index, job] of wanted.entries()) {
      statuses.push(await toStatus(job))
      if (index % 50 === 49) await setImmediate()
    }
    return statuses
  }

  async function toStatus(job: ScheduleJob): Promise<ScheduleStatus> {
    const { spec, trigger, lastTick, lastInvocationId, isBroken, failure } = job
    const invocation =
      lastInvocationId === undefined ? undefined : await store.invocations.find(lastInvocationId)
    const clockProblem = findClockProblem(job)
    return {
      functionName: spec.name,
      trigger,
      ...(lastTick !== undefined && { lastTick }),
      ...(lastInvocationId !== undefined && {
        lastInvocation: { id: lastInvocationId, ...(invocation && { state: invocation.state }) },
      }),
      nextTicks: isBroken ? [] : listNext(job),
      problems: [
        ...(isBroken ? ["The function's definition is broken."] : []),
        ...(clockProblem === undefined ? [] : [clockProblem]),
        ...(failure === undefined ? [] : [`It is tried again: ${failure}`]),
      ],
    }
  }

  function listNext(job: ScheduleJob): number[] {
    const ticks: number[] = []
    let tick: number | undefined = Math.max(clock(), toPassed(job))
    while (ticks.length < NEXT_TICKS) {
      tick = nextTick(job.trigger.timing, tick)
      if (tick === undefined) break
      ticks.push(tick)
    }
    return ticks
  }

  async function idle(): Promise<void> {
    const findBusy = () => [...(following ? [following] : []), ...underWay.values()]
    for (let busy = findBusy(); busy.length > 0; busy = findBusy()) await Promise.all(busy)
  }

  return {
    async start() {
      isStarted = true
      follow()
      await following
    },
    wake() {
      if (isStarted) follow()
    },
    list,
    idle,
    async close() {
      isClosed = true
      cancelTimer()
      cancelRetry()
      await idle()
    },
  }
}

function startTimer(act: () => void, ms: number): () => void {
  const timer = setTimeout(act, ms)
  return () => clearTimeout(timer)
}

function toDefined(spec: FunctionSpec): Defined[] {
  return spec.triggers.flatMap((trigger) =>
    trigger.type === 'schedule' ? { id: toScheduleId(spec.name, trigger), spec, trigger } : [],
  )
}

/** Many at once: the store writes them together. All are tried before it rejects for one of them. */
async function doAll(acts: readonly (() => Promise<void>)[], isOver: () => boolean): Promise<void> {
  const failures: unknown[] = []
  for (let at = 0; at < acts.length && !isOver(); at += MAX_UNDER_WAY) {
    const done = await Promise.allSettled(acts.slice(at, at + MAX_UNDER_WAY).map((act) => act()))
    failures.push(...done.flatMap((it) => (it.status === 'rejected' ? [it.reason as unknown] : [])))
  }
  if (failures.length > 0) throw failures[0]
}
