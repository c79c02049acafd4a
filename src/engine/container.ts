import { hostname } from 'node:os'
import type Docker from 'dockerode'
import type { Logger } from 'pino'
import type { TaskEnd, TaskResult } from '../core/outcome.ts'
import type { Task, TaskIo } from '../core/task.ts'
import { Hindered, LINGER_MS, createArmedPool } from './armed.ts'
import { followBare } from './bare.ts'
import { ANSWER_MS, ask, toEngineError } from './docker.ts'
import type { Engine, TaskStop } from './engine.ts'
import { createExits } from './exit.ts'
import type { Files } from './files.ts'
import { findCallHindrance, followGated, toHeld } from './gated.ts'
import type { Held } from './gated.ts'
import type { Images } from './image.ts'
import type { ImageFacts } from './image-facts.ts'
import { createImageFacts } from './image-facts.ts'
import { readEngineInfo } from './info.ts'
import { GATEWAY_LABEL, INVOCATION_LABEL, toContainerName } from './labels.ts'
import type { Launched } from './launch.ts'
import { createLauncher } from './launch.ts'
import { createNamespaces } from './namespace.ts'
import { Lost, NotStarted } from './refusal.ts'
import { Stopped } from './stop.ts'

export interface ContainerEngineDeps {
  readonly docker: Docker
  readonly gatewayId: string
  readonly images: Images
  readonly files: Files
  readonly newId: () => string
  readonly logger: Logger
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** The most network namespaces that are made ahead. */
  readonly maxNamespaces: number
}

/** How long a container whose gate has reported may take to end by itself, before it is killed, which costs the engine more. */
const LEAVING_MS = 2 * LINGER_MS

/** Runs each task in a container of its own on one engine. */
export function createContainerEngine(deps: ContainerEngineDeps): Engine {
  const { docker, gatewayId, images, logger, clock, maxNamespaces } = deps
  let node = hostname()
  const namespaces = createNamespaces({ ...deps, max: maxNamespaces })
  const launcher = createLauncher({ ...deps, namespaces })
  const exits = createExits({ docker, logger })
  const imageFacts = createImageFacts(docker)
  const armed = createArmedPool({ ...deps, launcher, imageFacts })

  async function run(task: Task, io: TaskIo, stop: TaskStop): Promise<TaskResult> {
    const follow = async (
      launched: Launched | Held,
      start: 'armed' | 'cold',
    ): Promise<TaskResult> => {
      const startedAt = start === 'armed' ? clock() : launched.startedAt
      io.started?.()
      try {
        let exitedAt: number | undefined
        const onExit = () => {
          exitedAt ??= clock()
        }
        const following = { task, io, stop, exits, onExit }
        const end = await ('facts' in launched
          ? followGated(launched, following)
          : followBare(launched, following))
        const finishedAt = clock()
        const timings = start === 'armed' ? { startMs: 0 } : launched.timings
        const ran = end.kind === 'not_started' ? {} : { startedAt }
        return {
          ...end,
          ...ran,
          start,
          node,
          finishedAt,
          timings: {
            ...timings,
            runMs: (exitedAt ?? finishedAt) - startedAt,
            collectMs: finishedAt - (exitedAt ?? finishedAt),
          },
        }
      } finally {
        launcher.discard(launched.name, LEAVING_MS)
      }
    }
    const ready = isGated(task) ? armed.take(task.spec) : undefined
    if (ready && !findCallHindrance(task, ready.facts)) return follow(ready, 'armed')
    if (ready) launcher.discard(ready.name)
    try {
      return await follow(await startCold(task, io, stop), 'cold')
    } catch (error) {
      return { ...toUnstarted(error, stop), start: 'cold', node, finishedAt: clock(), timings: {} }
    }
  }

  function isGated({ spec }: Task): boolean {
    return spec.warm.max > 0 && armed.findHindrance(spec) === undefined
  }

  async function startCold(task: Task, io: TaskIo, stop: TaskStop): Promise<Launched | Held> {
    const leave = armed.enterColdStart()
    try {
      return isGated(task) ? await startGated(task, io, stop) : await startBare(task, io, stop)
    } finally {
      leave()
    }
  }

  async function startGated(task: Task, io: TaskIo, stop: TaskStop): Promise<Launched | Held> {
    let facts: ImageFacts | undefined
    try {
      const blueprint = { ...toBlueprint(task), openStdin: true, held: true }
      const launched = await launcher.launch(blueprint, stop, async (name) => {
        facts = await imageFacts.of(name)
        const reason = facts.hasShell ? findCallHindrance(task, facts) : 'its image has no /bin/sh'
        if (reason === undefined) return
        // What this call's parameters alone bring about says nothing of the next.
        if (!facts.hasShell || findCallHindrance(task.spec, facts)) {
          armed.hinder(task.spec, reason, facts.id)
        }
        throw new Hindered()
      })
      return toHeld(launched, facts!)
    } catch (error) {
      if (!(error instanceof Hindered)) throw error
      return startBare(task, io, stop, 'bare')
    }
  }

  function startBare(task: Task, io: TaskIo, stop: TaskStop, suffix?: string): Promise<Launched> {
    const openStdin = io.stdin !== undefined
    return launcher.launch({ ...toBlueprint(task, suffix), openStdin, held: false }, stop)
  }

  async function sweep(isLive: (invocationId: string) => boolean): Promise<number> {
    const filters = JSON.stringify({ label: [`${GATEWAY_LABEL}=${gatewayId}`] })
    const path = `/containers/json?${new URLSearchParams({ all: '1', filters }).toString()}`
    const listing = { method: 'GET', path, withinMs: ANSWER_MS } as const
    const containers = (await ask(docker, listing).catch((error: unknown) => {
      throw toEngineError(error)
    })) as Docker.ContainerInfo[]
    const names = containers
      .filter(({ Labels }) => !isLive(Labels[INVOCATION_LABEL] ?? ''))
      .map(({ Names, State }) => ({ name: Names[0]?.slice(1) ?? '', hasEnded: State === 'exited' }))
      .filter(({ name, hasEnded }) => {
        // A holder of a namespace never ends by itself: the engine has.
        return !launcher.isLive(name) && (hasEnded || !namespaces.isLive(name))
      })
      .map(({ name }) => name)
    for (const name of names) {
      namespaces.forget(name)
      launcher.remove(name)
    }
    await launcher.idle()
    return names.length
  }

  async function close(): Promise<void> {
    armed.close()
    await Promise.all([launcher.idle(), namespaces.close()])
  }

  return {
    kind: 'container',
    run,
    sweep,
    close,
    arm: (spec, count) => armed.setTarget(spec, count),
    armed: () => armed.states(),
    findColdReason: (spec) => armed.findHindrance(spec),
    async ping() {
      const info = await readEngineInfo(docker)
      node = info.name
      return info
    },
    findImageDigest: (image) => images.findDigest(image),
  }
}

function toBlueprint({ invocationId, spec, container }: Task, suffix = '') {
  const name = toContainerName(suffix === '' ? invocationId : `${invocationId}-${suffix}`)
  return { name, spec, container, invocationId }
}

/** How a task ended whose command was not started. What is no such end is thrown. */
function toUnstarted(error: unknown, stop: TaskStop): TaskEnd {
  if (error instanceof Stopped) return { kind: 'stopped', by: stop.reason, exitCode: null }
  if (error instanceof NotStarted) return { kind: 'not_started', failure: error.failure }
  if (error instanceof Lost) return { kind: 'lost', failure: error.failure }
  throw toEngineError(error)
}
