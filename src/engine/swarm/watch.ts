import { GATEWAY_LABEL } from '../labels.ts'
import type { Managers } from './managers.ts'
import { toManagerError } from './managers.ts'
import type { SwarmTask } from './task.ts'
import { isOver } from './task.ts'

export interface TaskWatchDeps {
  readonly managers: Managers
  readonly gatewayId: string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** Sees what becomes of tasks: one listing for all that are watched, however many those are. */
export interface TaskWatch {
  /**
   * Tells each change of a service's task, first what is known at once. Ends with the task's last state, with `gone`
   * once the service has no task any more though it had one, and at the signal.
   */
  watch(serviceId: string, signal: AbortSignal): AsyncIterable<SwarmTask | 'gone'>
  /** Something may have changed, or is about to: look at once, and often. */
  wake(): void
  /** All of this gateway's, as they are now. Rejects with `engine_unreachable`. */
  list(): Promise<readonly SwarmTask[]>
}

/** How often the managers are asked while a task is young, and when all are old: they themselves write states every 100 ms. */
const INTERVAL_MS = { young: 100, old: 1_000 }
/** What has not changed for so long is old. */
const YOUNG_MS = 10_000
/** A listing may take this part of the time: those of many tasks are long. */
const SHARE = 1 / 3
/** How long a service is listed without a task before it counts as gone: one that has just been made has none yet, nor has a new leader made it. */
const GONE_MS = 5_000
/** How long a listing may take before the next manager is asked. */
const LISTING_MS = 5_000

interface Watched {
  /** Of the first listing that found no task; undefined: none was made yet since it is watched. */
  missingSince: number | undefined
  /** Listings that were begun before do not count. */
  readonly since: number
  last: SwarmTask | 'gone' | undefined
  tell(): void
}

export function createTaskWatch({ managers, gatewayId, clock }: TaskWatchDeps): TaskWatch {
  const watched = new Map<string, Watched>()
  let changedAt = -Infinity
  let isLooking = false
  /** Ends the pause between two listings. */
  let hurry = () => {}

  async function* watch(
    serviceId: string,
    signal: AbortSignal,
  ): AsyncGenerator<SwarmTask | 'gone'> {
    let news = Promise.withResolvers<void>()
    const tell = () => news.resolve()
    const entry: Watched = { missingSince: undefined, since: clock(), last: undefined, tell }
    watched.set(serviceId, entry)
    signal.addEventListener('abort', tell, { once: true })
    try {
      wake()
      let told: unknown
      while (!signal.aborted) {
        await news.promise
        news = Promise.withResolvers<void>()
        const { last } = entry
        if (last === undefined || last === told) continue
        told = last
        yield last
        if (last === 'gone' || isOver(last)) return
      }
    } finally {
      signal.removeEventListener('abort', tell)
      watched.delete(serviceId)
    }
  }

  function wake(): void {
    changedAt = clock()
    hurry()
    if (!isLooking) void look()
  }

  async function look(): Promise<void> {
    isLooking = true
    while (watched.size > 0) {
      const startedAt = performance.now()
      const begunAt = clock()
      // Without an answer, or with one that is none, nothing is known to have changed.
      await list()
        .then((tasks) => tell(tasks, begunAt))
        .catch(() => {})
      const tookMs = performance.now() - startedAt
      const isYoung = clock() - changedAt < YOUNG_MS
      const least = (isYoung ? INTERVAL_MS.young : INTERVAL_MS.old) - tookMs
      const ms = Math.max(least, tookMs / SHARE - tookMs)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        // While tasks are young, the next listing is near, and the managers have no news before that.
        if (isYoung) return
        hurry = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    isLooking = false
  }

  async function list(): Promise<readonly SwarmTask[]> {
    const filters = JSON.stringify({ label: [`${GATEWAY_LABEL}=${gatewayId}`] })
    const path = `/tasks?${new URLSearchParams({ filters }).toString()}`
    const question = { method: 'GET', path, withinMs: LISTING_MS, rideOutMs: 0 } as const
    const listed = await managers.ask(question).catch((error: unknown) => {
      throw toManagerError(error)
    })
    // A manager with more to do than it can may answer with an error that looks like success.
    if (!Array.isArray(listed)) throw toManagerError(new Error('the managers listed no tasks'))
    return listed as readonly SwarmTask[]
  }

  function tell(tasks: readonly SwarmTask[], begunAt: number): void {
    const byService = Map.groupBy(tasks, ({ ServiceID }) => ServiceID)
    for (const [serviceId, entry] of watched) {
      const task = byService.get(serviceId)?.reduce(toOlder)
      if (task) {
        if (entry.last !== undefined && toMark(entry.last) === toMark(task)) continue
        entry.last = task
      } else {
        if (entry.last === 'gone' || begunAt < entry.since) continue
        entry.missingSince ??= clock()
        // Only what was listed counts: while there is no leader nobody makes a task.
        if (entry.last === undefined && clock() - entry.missingSince <= GONE_MS) continue
        entry.last = 'gone'
      }
      changedAt = clock()
      entry.tell()
    }
  }

  return { watch, wake, list }
}

/** The one that was to run the command: a stop makes another one, which never runs. */
function toOlder(one: SwarmTask, other: SwarmTask): SwarmTask {
  return Date.parse(one.CreatedAt) <= Date.parse(other.CreatedAt) ? one : other
}

function toMark(task: SwarmTask | 'gone'): string {
  if (task === 'gone') return task
  const { DesiredState, Status, NodeID } = task
  return [task.ID, NodeID, DesiredState, Status.State, Status.Err].join(' ')
}
