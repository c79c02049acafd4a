import type { Duplex } from 'node:stream'
import { once } from 'node:events'
import { addAbortSignal } from 'node:stream'
import type Docker from 'dockerode'
import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import type { Timings } from '../core/outcome.ts'
import type { Blueprint } from './convert.ts'
import { toContainerCreateOptions, toEndpoint } from './convert.ts'
import { ANSWER_MS, ask, findStatus, isStatus, upgrade } from './docker.ts'
import type { TaskStop } from './engine.ts'
import type { Files } from './files.ts'
import type { Images } from './image.ts'
import type { Namespaces } from './namespace.ts'
import { Lost, NotStarted, confirmed, isImageMissing, toNotStarted, toRefusal } from './refusal.ts'
import { Stopped, unlessStopped, withinMs } from './stop.ts'

export interface LauncherDeps {
  readonly docker: Docker
  readonly namespaces: Namespaces
  readonly gatewayId: string
  readonly images: Images
  readonly files: Files
  readonly logger: Logger
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** A container that has been started, and our connections to it. */
export interface Launched {
  readonly name: string
  readonly output: Duplex
  readonly input: Duplex | undefined
  readonly startedAt: number
  /** Breaks our connections off. */
  cut(): void
  readonly timings: Pick<Timings, 'pullMs' | 'createMs' | 'startMs'>
}

export interface Launcher {
  /**
   * Makes and starts a container, in a network namespace made ahead if it may share one. Rejects with `NotStarted`, with
   * `Stopped`, with `Lost`, with `Unplaced`, or with the engine's error; then it is removed.
   */
  launch(blueprint: Blueprint, stop: TaskStop, hooks?: LaunchHooks): Promise<Launched>
  /** Takes charge of a container that another process has launched. Its signal comes when our connections are to end. */
  adopt(name: string): AbortSignal
  /** Removes a container behind whatever its caller does next. */
  discard(name: string, delay?: DiscardDelay): void
  /** Those that were launched and are not removed yet. */
  isLive(name: string): boolean
  /** Waits until all that is to be removed by now is removed, or found impossible to. */
  idle(): Promise<void>
  /** Waits for what is still to be recorded as well, but not for as long as a full disk may take. */
  close(): Promise<void>
  /** Removes a container, of another process perhaps. Fulfilled when it is gone, or found impossible to remove. */
  remove(name: string): Promise<void>
}

/** Both are called between creation and start, and may keep the container from being started by rejecting. */
export interface LaunchHooks {
  examine?(name: string): Promise<void>
  /** Comes last: only the start is left. */
  place?(name: string): Promise<void>
  /** What was placed, and was then not started, is kept until this is settled. */
  readonly recorded?: Promise<unknown> | undefined
}

export interface DiscardDelay {
  /** How long it may take to end by itself. */
  readonly lingerMs?: number
  /** It stays until this is settled. */
  readonly until?: Promise<unknown> | undefined
}

/** What placing a container failed of. */
export class Unplaced extends Error {}

interface Handle {
  readonly over: AbortController
  /** The request at hand: a removal waits for it, lest it come too early. */
  pending: Promise<unknown>
  launched?: Launched
  readonly namespace: Blueprint['namespace']
}

/** How long closing waits for what is to be recorded. */
const RECORDED_MS = 5_000

export function createLauncher(deps: LauncherDeps): Launcher {
  const { docker, namespaces, gatewayId, images, files, logger, clock } = deps
  const handles = new Map<string, Handle>()
  const removals = new Map<string, Promise<void>>()
  /** Those that stay until their ends are on record, and are then removed. */
  const kept = new Set<Promise<unknown>>()

  async function launch(
    blueprint: Blueprint,
    stop: TaskStop,
    hooks: LaunchHooks = {},
  ): Promise<Launched> {
    const namespace = namespaces.acquire(blueprint.container)
    if (!namespace) return launchOnce(blueprint, stop, hooks)
    try {
      return await launchOnce({ ...blueprint, namespace }, stop, hooks)
    } catch (error) {
      // The namespace's holder may have died, with its engine for one, and its files may be gone.
      const mayBeStale =
        error instanceof NotStarted &&
        ['container_refused', 'mount_not_found'].includes(error.failure.code)
      if (!mayBeStale || (await namespace.isHeld())) throw error
      namespace.drop()
      return launchOnce({ ...blueprint, name: `${blueprint.name}-own` }, stop, hooks)
    }
  }

  async function launchOnce(
    blueprint: Blueprint,
    stop: TaskStop,
    hooks: LaunchHooks,
  ): Promise<Launched> {
    const { name, openStdin, namespace } = blueprint
    // An earlier attempt's container of this name may be on its way out: its removal would take this one along.
    const leaving = removals.get(name)
    if (leaving) await unlessStopped(leaving, stop)
    const handle: Handle = { over: new AbortController(), pending: Promise.resolve(), namespace }
    handles.set(name, handle)
    const step = <T>(promise: Promise<T>): Promise<T> => {
      handle.pending = promise.catch(() => {})
      return unlessStopped(promise, stop)
    }
    let isPlaced = false
    try {
      const createdAt = clock()
      const { pullMs } = await step(create(blueprint, stop))
      await step(prepare(blueprint))
      const [output, input] = await step(
        Promise.all([
          attach(name, 'stdout=1&stderr=1', handle.over.signal),
          // On a connection of its own: an input that is not read to its end can't take the output down with it.
          openStdin ? attach(name, 'stdin=1', handle.over.signal) : undefined,
          hooks.examine?.(name),
        ]),
      )
      if (hooks.place) {
        // Not left behind by a stop: nothing is placed any more once a task has ended.
        await hooks.place(name).catch((cause: unknown) => {
          throw new Unplaced('the container could not be placed', { cause })
        })
        isPlaced = true
        if (stop.aborted) throw new Stopped()
      }
      const startingAt = clock()
      await step(start(name))
      const startedAt = clock()
      const timings = {
        ...(pullMs !== undefined && { pullMs }),
        createMs: startingAt - createdAt - (pullMs ?? 0),
        startMs: startedAt - startingAt,
      }
      const cut = () => handle.over.abort()
      handle.launched = { name, output, input, startedAt, timings, cut }
      return handle.launched
    } catch (error) {
      discard(name, isPlaced ? { until: hooks.recorded } : {})
      throw await confirmed(docker, error)
    }
  }

  async function create(blueprint: Blueprint, stop: TaskStop): Promise<{ pullMs?: number }> {
    const { image, pullPolicy: policy, platform } = blueprint.container
    const { name } = blueprint
    const query = new URLSearchParams({
      name,
      ...(platform !== undefined && { platform }),
    }).toString()
    const body = toContainerCreateOptions(blueprint, gatewayId)
    const createContainer = async () => {
      const request = { method: 'POST', path: `/containers/create?${query}`, body } as const
      try {
        await ask(docker, request)
      } catch (error) {
        if (!isStatus(error, 409)) throw error
        // An earlier attempt's, which did not live to place or to remove it: no other has this invocation's name.
        await clear(name)
        await ask(docker, request)
      }
    }
    try {
      const ensured = await images.ensure(image, { policy, platform }, stop)
      await createContainer()
      return ensured
    } catch (error) {
      if (error instanceof OneshotError) throw toNotStarted(error)
      if (!isImageMissing(error)) throw toRefusal(error)
      if (policy === 'never') {
        const detail = `The image ${image} is not on the engine, and pull_policy is never: pull it there, or set pull_policy to missing.`
        throw new NotStarted('image_not_found', detail)
      }
      const pullingAt = clock()
      await images.pull(image, platform, stop).catch((cause: unknown) => {
        throw toNotStarted(cause)
      })
      const pullMs = clock() - pullingAt
      await createContainer().catch((cause: unknown) => {
        throw toRefusal(cause)
      })
      return { pullMs }
    }
  }

  /** Fulfilled when there is no container of this name, or none can be brought about. */
  async function clear(name: string): Promise<void> {
    const path = `/containers/${name}`
    const removal = { method: 'DELETE', path: `${path}?force=1&v=1`, withinMs: ANSWER_MS } as const
    await ask(docker, removal).catch(async (error: unknown) => {
      // It is being removed already.
      if (!isStatus(error, 409)) return
      const gone = { method: 'POST', path: `${path}/wait?condition=removed` } as const
      await ask(docker, { ...gone, withinMs: ANSWER_MS }).catch(() => {})
    })
  }

  /** What the engine can't do as part of a creation. */
  async function prepare({ name, container }: Blueprint): Promise<void> {
    for (const network of container.networks.slice(1)) {
      const path = `/networks/${encodeURIComponent(network.name)}/connect`
      const body = { Container: name, EndpointConfig: toEndpoint(network) }
      await ask(docker, { method: 'POST', path, body }).catch((error: unknown) => {
        throw toRefusal(error)
      })
    }
    await files.copyInto(name, container).catch((error: unknown) => {
      throw error instanceof OneshotError ? toNotStarted(error) : toRefusal(error)
    })
  }

  async function attach(name: string, streams: string, over: AbortSignal): Promise<Duplex> {
    return addAbortSignal(
      over,
      await upgrade(docker, `/containers/${name}/attach?stream=1&${streams}`),
    )
  }

  async function start(name: string): Promise<void> {
    await ask(docker, { method: 'POST', path: `/containers/${name}/start` }).catch(
      (error: unknown) => {
        // Without an answer, the engine may have started it all the same.
        throw findStatus(error) === undefined ? new Lost(error) : toRefusal(error)
      },
    )
  }

  function adopt(name: string): AbortSignal {
    const over = new AbortController()
    handles.set(name, { over, pending: Promise.resolve(), namespace: undefined })
    return over.signal
  }

  function discard(name: string, { lingerMs = 0, until }: DiscardDelay = {}): void {
    const handle = handles.get(name)
    const output = handle?.launched?.output
    if (handle && output && !output.destroyed && lingerMs > 0) {
      handle.pending = withinMs(
        once(output, 'close').catch(() => {}),
        lingerMs,
      )
    } else {
      handle?.over.abort()
    }
    if (!until) return void remove(name)
    const keeping = until
      .catch(() => {})
      .then(() => remove(name))
      .finally(() => kept.delete(keeping))
    kept.add(keeping)
  }

  /** A failure is left to the sweep. */
  function remove(name: string): Promise<void> {
    const underway = removals.get(name)
    if (underway) return underway
    const handle = handles.get(name)
    const { pending, over, namespace } = handle ?? {}
    const path = `/containers/${name}?force=1&v=1`
    const removal = withinMs(Promise.resolve(pending), ANSWER_MS)
      .then(() => over?.abort())
      .then(() => ask(docker, { method: 'DELETE', path, withinMs: ANSWER_MS }))
      .then(
        () => namespace?.release(),
        (error: unknown) => {
          if (isStatus(error, 404)) return namespace?.release()
          namespace?.drop()
          // 409: it is being removed already.
          if (isStatus(error, 409)) return undefined
          const message = 'removing a container failed; the next sweep tries again'
          return logger.warn({ err: error, container: name }, message)
        },
      )
      .finally(() => {
        removals.delete(name)
        // A later attempt's container may have the name by now.
        if (handles.get(name) === handle) handles.delete(name)
      })
    removals.set(name, removal)
    return removal
  }

  async function idle(): Promise<void> {
    while (removals.size > 0) await Promise.all(removals.values())
  }

  async function close(): Promise<void> {
    await withinMs(Promise.all(kept), RECORDED_MS)
    await idle()
  }

  return { launch, adopt, discard, remove, idle, close, isLive: (name) => handles.has(name) }
}
