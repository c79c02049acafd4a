import type { Failure, TaskEnd } from '../../core/outcome.ts'
import type { Task, TaskIo } from '../../core/task.ts'
import type { TaskStop } from '../engine.ts'
import { ANSWER_MS } from '../docker.ts'
import { copyLog } from '../log.ts'
import { whenStopped, withinMs } from '../stop.ts'
import type { Managers } from './managers.ts'
import type { Nodes } from './nodes.ts'
import { keepHead, toShellsEnd } from './shell.ts'
import type { Services } from './services.ts'
import type { SwarmTask } from './task.ts'
import {
  findNodesCode,
  hasEndedByItself,
  isOnNode,
  isOver,
  mayHaveRun,
  toLost,
  toProgress,
  toStuck,
  toUnschedulable,
} from './task.ts'
import type { TaskWatch } from './watch.ts'

export interface FollowerDeps {
  readonly managers: Managers
  readonly services: Services
  readonly nodes: Nodes
  readonly tasks: TaskWatch
  readonly limits: TaskLimits
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** In milliseconds. */
export interface TaskLimits {
  /** How long a task may wait for a node with room for it. */
  readonly pendingMs: number
  /** How long a node may take to get a task's image and mounts. */
  readonly preparingMs: number
  /** How long a node that has gone may take to come back with a task's end. */
  readonly leaseMs: number
}

export interface Followed {
  /** The service's. */
  readonly id: string
  readonly name: string
  readonly task: Task
  readonly io: Pick<TaskIo, 'stdout' | 'stderr' | 'started' | 'progress'>
  readonly stop: TaskStop
  /** Why the image's registry did not tell of it. */
  readonly imageTrouble?: Failure | undefined
}

export interface Ran {
  readonly end: TaskEnd
  /** Milliseconds since the epoch, by its node's clock; undefined: its command never ran. */
  readonly startedAt: number | undefined
  readonly finishedAt: number
  /** The host name. */
  readonly node: string | undefined
}

/** Follows a service's task, from wherever it is, to its end and that of its output. */
export type Follower = (followed: Followed) => Promise<Ran>

/** How long after a stop's grace period the managers may take to report the end: a node alone takes 2 s before it stops one. */
const STOP_REPORT_MS = 15_000
/** How long the output of what was stopped may take from its node to its reader: that one may have stalled, or the node be gone. */
const STOP_DRAIN_MS = 10_000

/** What ends within is not worth following: its log is read once, at its end. */
const MOMENT_MS = 300
/** Between a node's return and what it tells of its tasks, with what clocks may differ by. */
const RETURN_MS = 10_000

export function createFollower(deps: FollowerDeps): Follower {
  const { managers, services, nodes, tasks, limits, clock } = deps

  return async function follow({ id, name, task, io, stop, imageTrouble }: Followed): Promise<Ran> {
    const over = new AbortController()
    const reading = new AbortController()
    const { promise: ended, resolve: onEnded } = Promise.withResolvers<TaskEnd>()
    const timer = createTimer()
    const head = keepHead(io.stderr)
    let copying: Promise<void> | undefined
    let startedAt: number | undefined
    let last: SwarmTask | undefined
    let end: TaskEnd | undefined
    /** What the end is if the task ends no other way, once it has been told to stop. */
    let stopped: (() => TaskEnd) | undefined
    const seen = Promise.withResolvers<void>()
    let wasMissing = false
    /** Until it runs, its networks may change its node. What has run for no longer than a moment has kept it. */
    let changedBefore: number | undefined | Promise<number | undefined>

    const finish = (it: TaskEnd) => {
      end ??= it
      over.abort()
    }
    const copy = (hasEnded: boolean) => {
      if (copying || !last) return
      const path = `/tasks/${last.ID}/logs`
      // What is followed is broken off at the end; some engines begin to answer only with the first output.
      const open = (query: string, signal: AbortSignal) =>
        managers.openStream(
          `${path}?${query}`,
          signal,
          query.includes('follow=1') ? undefined : ANSWER_MS,
        )
      const log = { open, tty: task.container.tty, ended, hasEnded, patienceMs: limits.leaseMs }
      copying = copyLog(log, { ...io, stderr: head.sink }, reading.signal)
      copying.catch(() => {})
    }
    /** Has it end: the listing tells how far it had come. */
    const stopTask = async (toEnd: () => TaskEnd) => {
      if (end || stopped) return
      stopped = toEnd
      const bound = task.container.stopGracePeriodMs + STOP_REPORT_MS
      timer.set('stopping', bound, () => finish(toEnd()))
      await services.stop(name).catch(() => {})
      tasks.wake()
    }
    const giveUp = (unstarted: TaskEnd) => () =>
      void stopTask(() =>
        last && mayHaveRun(last) ? toLost('it was given up just as it was started') : unstarted,
      )
    const stopping = whenStopped(stop)
    const stopOnDemand = async () => {
      await stopping.promise
      // It may have ended before anybody wanted it to, which its first listing tells.
      await withinMs(seen.promise, STOP_REPORT_MS)
      await stopTask(() => toStopped(stop, last))
    }
    void stopOnDemand()

    try {
      for await (const it of tasks.watch(id, over.signal)) {
        if (it === 'gone') {
          finish(stopped?.() ?? toLost('its service was removed'))
          break
        }
        last = it
        if (stopped && !hasEndedByItself(it)) {
          if (isOver(it) || !isOnNode(it)) finish(stopped())
          continue
        }
        // By a former process, which ended before it could put that on record.
        if (stop.aborted && it.Status.State === 'shutdown') {
          finish(toStopped(stop, it))
          continue
        }
        const progress = toProgress(it, imageTrouble)
        if (progress.kind !== 'ended') void tell(io, it, progress)
        switch (progress.kind) {
          case 'pending':
            changedBefore = Infinity
            timer.set('pending', limits.pendingMs, giveUp(toUnschedulable(it)))
            break
          case 'preparing':
            changedBefore = Infinity
            timer.set('preparing', limits.preparingMs, giveUp(toStuck()))
            break
          case 'running':
            if (startedAt === undefined) {
              changedBefore = Infinity
              startedAt = Date.parse(it.Status.Timestamp)
              io.started?.()
            }
            timer.set('running', MOMENT_MS, () => {
              changedBefore = nodes.findChange(it.NodeID ?? '')
              copy(false)
            })
            break
          case 'missing':
            wasMissing = true
            timer.set('missing', limits.leaseMs, () => finish(toLost('its node has gone')))
            break
          case 'ended':
            finish(await judge(progress.end, it, wasMissing ? 'gone' : await changedBefore, task))
            break
        }
        seen.resolve()
      }
    } finally {
      timer.clear()
      seen.resolve()
      over.abort()
    }

    let told = end ?? toLost('nobody watches it any more')
    const hasRun = told.kind === 'exited' || (told.kind === 'stopped' && startedAt !== undefined)
    onEnded(told.kind === 'lost' ? told : { kind: 'exited', exitCode: 0, oomKilled: false })
    if (hasRun) copy(true)
    const copied = (copying ?? Promise.resolve()).then(
      () => true,
      () => false,
    )
    const isWhole = await Promise.race([
      copied,
      stopping.promise.then(() => withinMs(copied, STOP_DRAIN_MS)),
    ])
    stopping.dispose()
    reading.abort()
    if (told.kind === 'exited' && !isWhole) {
      const { exitCode } = told
      told = stop.aborted ? { kind: 'stopped', by: stop.reason, exitCode } : toOutputLost(exitCode)
    }
    const finishedAt = last && isOver(last) ? Date.parse(last.Status.Timestamp) : clock()
    return {
      end: toShellsEnd(name, told, head.text()) ?? told,
      startedAt: startedAt ?? (hasRun ? finishedAt : undefined),
      finishedAt,
      node: last?.NodeID === undefined ? undefined : await nodes.findName(last.NodeID),
    }
  }

  /** A node that goes may take its tasks with it: what it then says of their commands' ends is its own. */
  async function judge(
    end: TaskEnd,
    task: SwarmTask,
    node: 'gone' | number | undefined,
    { container }: Task,
  ): Promise<TaskEnd> {
    if (end.kind !== 'exited') return end
    const killed = findNodesCode(end)
    if (killed === undefined) return end
    const { NodeID = '', CreatedAt, UpdatedAt, DesiredState, Status } = task
    const oomKilled = await nodes.isOomKilled(NodeID, Status.ContainerStatus?.ContainerID)
    if (oomKilled) return { ...end, oomKilled }
    if (node === 'gone') return toLost('its node went while it ran')
    const changedAt = await nodes.findChange(NodeID)
    // One that comes back says so as it tells of its tasks' ends: earlier changes are other matters.
    const earliest = Date.parse(Status.Timestamp) - RETURN_MS
    const isSuspicious =
      changedAt === undefined || changedAt > Math.max(node ?? Date.parse(CreatedAt), earliest)
    // The last task of an overlay network changes its node as well, once its end is known to the managers.
    const isOnOverlay = container.networkMode === 'none' || container.networks.length > 0
    const mayBeItsNetworks =
      isOnOverlay && (DesiredState !== 'running' || (changedAt ?? 0) > Date.parse(UpdatedAt))
    const hasNodeGone = isSuspicious && !mayBeItsNetworks
    return hasNodeGone ? toLost('its node went while it ran') : end
  }

  async function tell(
    io: Followed['io'],
    { NodeID }: SwarmTask,
    progress: ReturnType<typeof toProgress>,
  ): Promise<void> {
    if (!io.progress) return
    const node = NodeID === undefined ? undefined : await nodes.findName(NodeID)
    const waitingFor = progress.kind === 'pending' ? progress.reason : undefined
    io.progress({
      ...(node !== undefined && { node }),
      ...(waitingFor !== undefined && { waitingFor }),
    })
  }
}

/** One limit at a time, each counted from when it is first set. */
function createTimer() {
  let timer: NodeJS.Timeout | undefined
  let current = ''
  return {
    set(kind: string, ms: number, onTime: () => void): void {
      if (kind === current) return
      clearTimeout(timer)
      current = kind
      timer = setTimeout(onTime, ms)
    },
    clear(): void {
      clearTimeout(timer)
      current = ''
    },
  }
}

function toStopped(stop: TaskStop, task: SwarmTask | undefined): TaskEnd {
  const { State, ContainerStatus } = task?.Status ?? {}
  const exitCode = ContainerStatus?.ExitCode ?? -1
  // Of one that never ran it is 0.
  const isTold = exitCode >= 0 && ContainerStatus?.ContainerID && State !== 'rejected'
  const hasEnded = task !== undefined && isOver(task)
  return { kind: 'stopped', by: stop.reason, exitCode: isTold && hasEnded ? exitCode : null }
}

function toOutputLost(exitCode: number): TaskEnd {
  const detail = `The command ended with exit code ${exitCode}, but what it printed can't be had: its node does not hand the log over. Call again if that is safe.`
  return { kind: 'lost', failure: { code: 'engine_failed', detail } }
}
