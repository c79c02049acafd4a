import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import type { TaskEnd, TaskResult } from '../core/outcome.ts'
import type { Task, TaskHandle, TaskIo } from '../core/task.ts'
import type { Credentials } from './credentials.ts'
import type { Engine, EngineInfo, ResumeIo, TaskStop } from './engine.ts'
import { toContainerName } from './labels.ts'
import { NotStarted, toNotStarted } from './refusal.ts'
import { Stopped, unlessStopped } from './stop.ts'
import { listenToManager } from './swarm/events.ts'
import type { Ran, TaskLimits } from './swarm/follow.ts'
import { createFollower } from './swarm/follow.ts'
import { createSwarmImages } from './swarm/image.ts'
import { readManagerInfo } from './swarm/info.ts'
import type { SpoolVolume } from './swarm/input.ts'
import { createInputs } from './swarm/input.ts'
import type { Managers } from './swarm/managers.ts'
import { toManagerError } from './swarm/managers.ts'
import { createClosedNetwork } from './swarm/network.ts'
import { createNodes } from './swarm/nodes.ts'
import { createPlanner } from './swarm/plan.ts'
import { createServices } from './swarm/services.ts'
import { createTaskWatch } from './swarm/watch.ts'

export interface SwarmEngineDeps {
  readonly managers: Managers
  readonly gatewayId: string
  readonly credentials: Credentials
  readonly newId: () => string
  readonly logger: Logger
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly limits: TaskLimits
  readonly spool: SpoolVolume | undefined
  /** Of the network that leads nowhere: a CIDR; undefined: the managers choose one. */
  readonly closedSubnet: string | undefined
}

/** How soon managers that could not be reached are asked again. */
const RETRY_MS = 1_000

/** Runs each task as a service of one replica that is never restarted. */
export function createSwarmEngine(deps: SwarmEngineDeps): Engine {
  const { managers, spool, clock } = deps
  const images = createSwarmImages(deps)
  const inputs = createInputs(deps)
  const closedNetwork = createClosedNetwork({ ...deps, subnet: deps.closedSubnet })
  const plan = createPlanner({ ...deps, images, inputs, closedNetwork })
  const services = createServices({ ...deps, inputs })
  const nodes = createNodes(deps)
  const tasks = createTaskWatch(deps)
  const follow = createFollower({ ...deps, services, nodes, tasks })
  let listening: AbortController | undefined
  let manager = ''

  async function run(task: Task, io: TaskIo, stop: TaskStop): Promise<TaskResult> {
    const name = toServiceName(task)
    const begunAt = clock()
    listen()
    await services.claim(name)
    try {
      const planned = await unlessStopped(plan(name, task, io.stdin), stop)
      const id = await unlessStopped(services.create(planned), stop)
      io.inputDelivered?.()
      await io.placed?.({ name, start: 'cold', placedAt: clock() })
      if (stop.aborted) throw new Stopped()
      const createdAt = clock()
      await startSurely(name, stop)
      const ran = await follow({ id, name, task, io, stop, imageTrouble: planned.imageTrouble })
      const { startedAt = createdAt } = ran
      return toResult(ran, {
        createMs: createdAt - begunAt,
        startMs: Math.max(0, startedAt - createdAt),
      })
    } catch (error) {
      closedNetwork.forget()
      return { ...toUnstarted(error, stop), ...elsewhere(), start: 'cold' }
    } finally {
      services.discard(name, io.recorded)
    }
  }

  /** From the first task on, also of one that a former process has started. */
  function listen(): void {
    listening ??= listenToManager({ ...deps, onEvent: tasks.wake })
  }

  /** Once this was asked for, the command may run: there is no going back for want of an answer. */
  async function startSurely(name: string, stop: TaskStop): Promise<void> {
    for (;;) {
      try {
        return await unlessStopped(services.start(name, stop), stop)
      } catch (error) {
        const isPassing = error instanceof OneshotError && error.code === 'engine_unreachable'
        if (!isPassing) throw error
        await unlessStopped(sleep(RETRY_MS), stop)
      }
    }
  }

  async function resume(
    task: Task,
    { name, start, placedAt }: TaskHandle,
    io: ResumeIo,
    stop: TaskStop,
  ): Promise<TaskResult | 'never_ran'> {
    listen()
    await services.claim(name)
    const found = await services.withhold(name)
    if (found && !found.isStarted) {
      await services.remove(name)
      return 'never_ran'
    }
    if (!found) {
      services.discard(name, io.recorded)
      return { ...toGone(), ...elsewhere(), start }
    }
    try {
      const ran = await follow({ id: found.id, name, task, io, stop })
      return { ...toResult({ ...ran, startedAt: ran.startedAt ?? placedAt }), start }
    } finally {
      services.discard(name, io.recorded)
    }
  }

  async function abandon({ name }: TaskHandle): Promise<'never_ran' | undefined> {
    const found = await services.withhold(name).catch(() => undefined)
    await services.remove(name)
    return found && !found.isStarted ? 'never_ran' : undefined
  }

  function elsewhere() {
    return { node: manager, finishedAt: clock(), timings: {} }
  }

  function toResult(
    { end, startedAt, finishedAt, node = manager }: Ran,
    timings: TaskResult['timings'] = {},
  ): TaskResult {
    const hasRun = end.kind !== 'not_started' && startedAt !== undefined
    return {
      ...end,
      ...(hasRun && { startedAt }),
      start: 'cold',
      node,
      finishedAt,
      timings: {
        ...timings,
        ...(hasRun && { runMs: Math.max(0, finishedAt - startedAt) }),
        collectMs: Math.max(0, clock() - finishedAt),
      },
    }
  }

  async function sweep(isLive: (invocationId: string) => boolean): Promise<number> {
    try {
      const [removed] = await Promise.all([services.sweep(isLive), images.sweep()])
      return removed
    } catch (error) {
      throw toManagerError(error)
    }
  }

  async function ping(): Promise<EngineInfo> {
    const info = await readManagerInfo(managers, spool)
    manager = info.name
    return info
  }

  async function close(): Promise<void> {
    listening?.abort()
    await images.close()
    if (await services.close()) await closedNetwork.remove()
  }

  return {
    kind: 'swarm',
    run,
    resume,
    abandon,
    sweep,
    // A service is not made ahead: what starts it takes longer than the rest of a call.
    arm() {},
    armed: () => [],
    findColdReason: () => 'tasks of a swarm are not made ahead',
    ping,
    nodes: async () => nodes.list(await tasks.list()),
    findImageDigest: images.findDigest,
    close,
  }
}

/** A service can be found by this name even if the answer to its creation was lost. */
function toServiceName({ invocationId, attempt }: Task): string {
  return toContainerName(attempt === 1 ? invocationId : `${invocationId}-${attempt}`)
}

function toGone(): TaskEnd {
  const detail =
    "The task's service was gone when the gateway took it up again, and how its command ended can't be known: call again if that is safe."
  return { kind: 'lost', failure: { code: 'engine_failed', detail } }
}

/** What is no such end is thrown: what is wrong with the call too. */
function toUnstarted(thrown: unknown, stop: TaskStop): TaskEnd {
  if (thrown instanceof OneshotError && thrown.code === 'input_too_large') throw thrown
  const error = toNotStarted(thrown)
  if (error instanceof Stopped) return { kind: 'stopped', by: stop.reason, exitCode: null }
  if (error instanceof NotStarted) return { kind: 'not_started', failure: error.failure }
  throw toManagerError(error)
}
