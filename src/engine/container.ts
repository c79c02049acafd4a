import { hostname } from 'node:os'
import type Docker from 'dockerode'
import type { Logger } from 'pino'
import type { Start, TaskEnd, TaskResult } from '../core/outcome.ts'
import type { Task, TaskIo } from '../core/task.ts'
import { Hindered, LINGER_MS, createArmedPool } from './armed.ts'
import { followBare } from './bare.ts'
import { ANSWER_MS, ask, toEngineError } from './docker.ts'
import type { Engine, TaskStop } from './engine.ts'
import { createExits } from './exit.ts'
import type { Files } from './files.ts'
import type { Following } from './follow.ts'
import { copyInput, toFollowed } from './follow.ts'
import { findCallHindrance, followGated, letGo, toGated, toHeld } from './gated.ts'
import type { Held } from './gated.ts'
import type { Images } from './image.ts'
import type { ImageFacts } from './image-facts.ts'
import { createImageFacts } from './image-facts.ts'
import { readEngineInfo, readEngineNode } from './info.ts'
import { GATEWAY_LABEL, INVOCATION_LABEL, toContainerName } from './labels.ts'
import type { Launched } from './launch.ts'
import { Unplaced, createLauncher } from './launch.ts'
import { createNamespaces } from './namespace.ts'
import { Lost, NotStarted } from './refusal.ts'
import { createResumer } from './resume.ts'
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
  const running = new Set<string>()
  const namespaces = createNamespaces({ ...deps, max: maxNamespaces })
  const launcher = createLauncher({ ...deps, namespaces })
  const exits = createExits({ docker, logger })
  const imageFacts = createImageFacts(docker)
  const armed = createArmedPool({ ...deps, launcher, imageFacts })
  const { resume, abandon } = createResumer({
    docker,
    launcher,
    exits,
    imageFacts,
    clock,
    node: () => node,
    leavingMs: LEAVING_MS,
  })

  async function run(task: Task, io: TaskIo, stop: TaskStop): Promise<TaskResult> {
    const unstarted = (error: unknown, start: Start): TaskResult => {
      return { ...toUnstarted(error, stop), start, node, finishedAt: clock(), timings: {} }
    }
    const follow = async (launched: Launched | Held, start: Start): Promise<TaskResult> => {
      const { name } = launched
      if ('nonce' in launched && io.placed) {
        try {
          await io.placed({ name, nonce: launched.nonce, start, placedAt: clock() })
        } catch (error) {
          launcher.discard(name)
          throw error
        }
        if (stop.aborted) {
          launcher.discard(name, { until: io.recorded })
          return unstarted(new Stopped(), start)
        }
      }
      const startedAt = start === 'armed' ? clock() : launched.startedAt
      io.started?.()
      try {
        let exitedAt: number | undefined
        const onExit = () => {
          exitedAt ??= clock()
        }
        const end = await followLaunched(launched, { task, io, stop, exits, onExit })
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
        launcher.discard(name, { lingerMs: LEAVING_MS, until: io.recorded })
      }
    }
    const ready = isGated(task) ? armed.take(task.spec) : undefined
    if (ready && !findCallHindrance(task, ready.facts)) return follow(ready, 'armed')
    if (ready) launcher.discard(ready.name)
    const started = await startCold(task, io, stop).catch((error: unknown) => {
      return unstarted(error, 'cold')
    })
    return 'kind' in started ? started : follow(started, 'cold')
  }

  async function known<T>({ invocationId }: Task, act: () => Promise<T>): Promise<T> {
    running.add(invocationId)
    try {
      return await act()
    } finally {
      running.delete(invocationId)
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
      const launched = await launcher.launch(blueprint, stop, {
        async examine(name) {
          facts = await imageFacts.of(name)
          const reason = findCallHindrance(task, facts)
          if (reason === undefined) return
          // What this call's parameters alone bring about says nothing of the next.
          if (findCallHindrance(task.spec, facts)) armed.hinder(task.spec, reason, facts.id)
          throw new Hindered()
        },
      })
      return toHeld(launched, facts!)
    } catch (error) {
      if (!(error instanceof Hindered)) throw error
      return startBare(task, io, stop, 'bare')
    }
  }

  function startBare(task: Task, io: TaskIo, stop: TaskStop, suffix?: string): Promise<Launched> {
    const blueprint = {
      ...toBlueprint(task, suffix),
      openStdin: io.stdin !== undefined,
      held: false,
    }
    const { placed, recorded } = io
    if (!placed) return launcher.launch(blueprint, stop)
    return launcher.launch(blueprint, stop, {
      place: (name) => placed({ name, start: 'cold', placedAt: clock() }),
      recorded,
    })
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
      void launcher.remove(name)
    }
    await launcher.idle()
    return names.length
  }

  async function close(): Promise<void> {
    armed.close()
    await Promise.all([launcher.close(), namespaces.close()])
  }

  return {
    kind: 'container',
    run: (task, io, stop) => known(task, () => run(task, io, stop)),
    resume: (task, ...rest) => known(task, () => resume(task, ...rest)),
    abandon,
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
    nodes: async () => [{ ...(await readEngineNode(docker)), invocations: [...running] }],
    findImageDigest: (image) => images.findDigest(image),
  }
}

async function followLaunched(
  launched: Launched | Held,
  following: Following & { readonly io: TaskIo },
): Promise<TaskEnd> {
  const { task, io } = following
  const { input } = launched
  const followed = toFollowed(launched, task.container)
  if (!('nonce' in launched)) {
    const ended = followBare(followed, following)
    copyInput(io, input)
    return ended
  }
  const ended = followGated({ ...followed, ...toGated(launched, task) }, following)
  letGo(launched, task, io)
  copyInput(io, input)
  const end = await ended
  // The engine itself leaves an input open that nobody reads any more.
  if (io.stdin) input?.destroy()
  if (end !== 'never_ran') return end
  const detail = 'The Docker engine did not hand the call on to its container: call again.'
  return { kind: 'not_started', failure: { code: 'engine_failed', detail } }
}

function toBlueprint({ invocationId, attempt, spec, container }: Task, suffix = '') {
  // An earlier attempt's may still be on its way out.
  const id = attempt === 1 ? invocationId : `${invocationId}-${attempt}`
  const name = toContainerName(suffix === '' ? id : `${id}-${suffix}`)
  return { name, spec, container, invocationId }
}

/** How a task ended whose command was not started. What is no such end is thrown. */
function toUnstarted(error: unknown, stop: TaskStop): TaskEnd {
  if (error instanceof Stopped) return { kind: 'stopped', by: stop.reason, exitCode: null }
  if (error instanceof NotStarted) return { kind: 'not_started', failure: error.failure }
  if (error instanceof Unplaced) throw error.cause
  if (error instanceof Lost) return { kind: 'lost', failure: error.failure }
  throw toEngineError(error)
}
