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
import { Lost, NotStarted, isImageMissing, toNotStarted, toRefusal } from './refusal.ts'
import { unlessStopped, withinMs } from './stop.ts'

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
   * Makes and starts a container, in a network namespace made ahead if it may share one. Rejects with `NotStarted`, with `Stopped`, with `Lost`, or with the engine's error; then
   * nothing of it is left. `examine` is asked between creation and start, and may refuse by rejecting.
   */
  launch(
    blueprint: Blueprint,
    stop: TaskStop,
    examine?: (name: string) => Promise<void>,
  ): Promise<Launched>
  /**
   * Removes a container behind whatever its caller does next: at once, or when it has ended, at the latest after
   * `lingerMs`.
   */
  discard(name: string, lingerMs?: number): void
  /** Those that were launched and are not removed yet. */
  isLive(name: string): boolean
  /** Waits until all that is to be removed is removed, or found impossible to. */
  idle(): Promise<void>
  /** Removes a container that another process has left. */
  remove(name: string): void
}

interface Handle {
  readonly over: AbortController
  /** The request at hand: a removal waits for it, lest it come too early. */
  pending: Promise<unknown>
  launched?: Launched
  readonly namespace: Blueprint['namespace']
}

export function createLauncher(deps: LauncherDeps): Launcher {
  const { docker, namespaces, gatewayId, images, files, logger, clock } = deps
  const handles = new Map<string, Handle>()
  const removals = new Map<string, Promise<void>>()

  async function launch(
    blueprint: Blueprint,
    stop: TaskStop,
    examine?: (name: string) => Promise<void>,
  ): Promise<Launched> {
    const namespace = namespaces.acquire(blueprint.container)
    if (!namespace) return launchOnce(blueprint, stop, examine)
    try {
      return await launchOnce({ ...blueprint, namespace }, stop, examine)
    } catch (error) {
      // The namespace's holder may have died, with its engine for one, and its files may be gone.
      const mayBeStale =
        error instanceof NotStarted &&
        ['container_refused', 'mount_not_found'].includes(error.failure.code)
      if (!mayBeStale || (await namespace.isHeld())) throw error
      namespace.drop()
      return launchOnce({ ...blueprint, name: `${blueprint.name}-own` }, stop, examine)
    }
  }

  async function launchOnce(
    blueprint: Blueprint,
    stop: TaskStop,
    examine?: (name: string) => Promise<void>,
  ): Promise<Launched> {
    const { name, openStdin, namespace } = blueprint
    const handle: Handle = { over: new AbortController(), pending: Promise.resolve(), namespace }
    handles.set(name, handle)
    const step = <T>(promise: Promise<T>): Promise<T> => {
      handle.pending = promise.catch(() => {})
      return unlessStopped(promise, stop)
    }
    try {
      const createdAt = clock()
      const { pullMs } = await step(create(blueprint, stop))
      await step(prepare(blueprint))
      const [output, input] = await step(
        Promise.all([
          attach(name, 'stdout=1&stderr=1', handle.over.signal),
          // On a connection of its own: an input that is not read to its end can't take the output down with it.
          openStdin ? attach(name, 'stdin=1', handle.over.signal) : undefined,
          examine?.(name),
        ]),
      )
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
      discard(name)
      throw error
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
    const createContainer = () =>
      ask(docker, { method: 'POST', path: `/containers/create?${query}`, body })
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

  function discard(name: string, lingerMs = 0): void {
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
    remove(name)
  }

  /** A failure is left to the sweep. */
  function remove(name: string): void {
    if (removals.has(name)) return
    const { pending, over, namespace } = handles.get(name) ?? {}
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
        handles.delete(name)
      })
    removals.set(name, removal)
  }

  async function idle(): Promise<void> {
    while (removals.size > 0) await Promise.all(removals.values())
  }

  return { launch, discard, remove, idle, isLive: (name) => handles.has(name) }
}
