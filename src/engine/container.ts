import { hostname } from 'node:os'
import { addAbortSignal } from 'node:stream'
import type { Duplex, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type Docker from 'dockerode'
import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import type { TaskEnd, TaskResult, Timings } from '../core/outcome.ts'
import type { Task, TaskIo } from '../core/task.ts'
import { toContainerCreateOptions, toEndpoint } from './convert.ts'
import { ask, findStatus, isStatus, toEngineError, upgrade } from './docker.ts'
import type { Engine, TaskStop } from './engine.ts'
import type { Files } from './files.ts'
import type { Images } from './image.ts'
import { readEngineInfo } from './info.ts'
import { GATEWAY_LABEL, INVOCATION_LABEL, toContainerName } from './labels.ts'
import { copyOutput } from './output.ts'
import { Lost, NotStarted, isImageMissing, toNotStarted, toRefusal } from './refusal.ts'
import { Stopped, unlessStopped, whenStopped, withinMs } from './stop.ts'

export interface ContainerEngineDeps {
  readonly docker: Docker
  readonly gatewayId: string
  readonly images: Images
  readonly files: Files
  readonly logger: Logger
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** How long output may lag behind a stop before it is given up: its reader may have gone. */
const DRAIN_MS = 1_000
/** How long after a stop's grace period the engine may take to report the end. */
const STOP_REPORT_MS = 10_000

/** How long the engine may take over a request of ours that nobody waits for, before it is given up. */
const ANSWER_MS = 60_000

/** Runs each task in a container of its own on one engine. */
export function createContainerEngine(deps: ContainerEngineDeps): Engine {
  const { docker, gatewayId, images, files, logger, clock } = deps
  const node = hostname()
  const removals = new Map<string, Promise<void>>()

  async function run(task: Task, io: TaskIo, stop: TaskStop): Promise<TaskResult> {
    const name = toContainerName(task.invocationId)
    const timings: { -readonly [K in keyof Timings]: Timings[K] } = {}
    let startedAt: number | undefined
    const over = new AbortController()
    let pending: Promise<unknown> = Promise.resolve()
    /** One step towards the start; a stop does not wait for it, but the removal does. */
    const step = <T>(promise: Promise<T>): Promise<T> => {
      pending = promise.catch(() => {})
      return unlessStopped(promise, stop)
    }
    const end = async (): Promise<TaskEnd> => {
      try {
        const createdAt = clock()
        const { pullMs } = await step(create(name, task, io, stop))
        if (pullMs !== undefined) timings.pullMs = pullMs
        await step(prepare(name, task))
        const output = await step(attach(name, 'stdout=1&stderr=1', over.signal))
        // On a connection of its own: an input that is not read to its end can't take the output down with it.
        const input = io.stdin && (await step(attach(name, 'stdin=1', over.signal)))
        timings.createMs = clock() - createdAt - (pullMs ?? 0)
        const startingAt = clock()
        await step(start(name))
        startedAt = clock()
        timings.startMs = startedAt - startingAt
        io.started?.()
        const copying = copyOutput(output, task.container, io)
        // Its failure is met below; until then it must not count as unhandled.
        copying.catch(() => {})
        if (io.stdin && input) copyInput(io.stdin, input)
        const exited = await waitOrStop(name, task, stop, over)
        timings.runMs = clock() - startedAt
        return await drained(exited, copying, stop)
      } catch (error) {
        if (error instanceof Stopped) return { kind: 'stopped', by: stop.reason, exitCode: null }
        if (error instanceof NotStarted) return { kind: 'not_started', failure: error.failure }
        if (error instanceof Lost) return { kind: 'lost', failure: error.failure }
        throw toEngineError(error)
      } finally {
        // The engine itself leaves an input open that nobody reads any more.
        over.abort()
        remove(name, pending)
      }
    }
    const ended = await end()
    const at = startedAt === undefined ? {} : { startedAt }
    return { ...ended, ...at, node, finishedAt: clock(), timings }
  }

  async function create(name: string, task: Task, io: TaskIo, stop: TaskStop) {
    const { image, pullPolicy: policy, platform } = task.container
    const body = toContainerCreateOptions(task, { gatewayId, openStdin: io.stdin !== undefined })
    const query = new URLSearchParams({
      name,
      ...(platform !== undefined && { platform }),
    }).toString()
    const createContainer = () =>
      ask(docker, { method: 'POST', path: `/containers/create?${query}`, body })
    let pullMs: number | undefined
    try {
      pullMs = (await images.ensure(image, { policy, platform }, stop)).pullMs
      await createContainer()
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
      pullMs = clock() - pullingAt
      await createContainer().catch((cause: unknown) => {
        throw toRefusal(cause)
      })
    }
    return { pullMs }
  }

  /** What the engine can't do as part of a creation. */
  async function prepare(name: string, { container }: Task): Promise<void> {
    for (const network of container.networks.slice(1)) {
      await docker
        .getNetwork(encodeURIComponent(network.name))
        .connect({ Container: name, EndpointConfig: toEndpoint(network) })
        .catch((error: unknown) => {
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

  function copyInput(stdin: AsyncIterable<Uint8Array>, input: Writable): void {
    // A command may end without reading its input, which breaks the pipe: that is its right.
    pipeline(stdin, input).catch((error: unknown) =>
      logger.debug({ err: error }, 'input not read to its end'),
    )
  }

  async function waitOrStop(
    name: string,
    task: Task,
    stop: TaskStop,
    over: AbortController,
  ): Promise<TaskEnd> {
    const ending = wait(name)
    const stopped = whenStopped(stop)
    const first = await Promise.race([ending, stopped.promise])
    stopped.dispose()
    if (first) return first
    const graceMs = task.container.stopGracePeriodMs
    // A reader that has stalled would hold the engine's report back as well.
    const letting = setTimeout(() => over.abort(), graceMs + DRAIN_MS)
    await terminate(name, task)
    const end = await withinMs(ending, graceMs + STOP_REPORT_MS)
    clearTimeout(letting)
    return {
      kind: 'stopped',
      by: stop.reason,
      exitCode: end?.kind === 'exited' ? end.exitCode : null,
    }
  }

  async function wait(name: string): Promise<TaskEnd> {
    const path = `/containers/${name}/wait`
    const waited = await ask(docker, { method: 'POST', path }).catch((error: unknown) => error)
    const exitCode = (waited as { StatusCode?: unknown } | null)?.StatusCode
    if (typeof exitCode !== 'number') return lost(waited)
    if (exitCode === 0) return { kind: 'exited', exitCode, oomKilled: false }
    // An engine that is told to end kills its containers and still answers with their 137: a new connection shows
    // whether it is there to stand by its word.
    try {
      const inspect = { method: 'GET', path: `/containers/${name}/json`, afresh: true } as const
      const { State } = (await ask(docker, inspect)) as Docker.ContainerInspectInfo
      return { kind: 'exited', exitCode, oomKilled: State.OOMKilled }
    } catch (error) {
      return lost(error)
    }
  }

  /** The stop signal, the grace period, then SIGKILL. Failures are let go: the end, or its absence, tells. */
  async function terminate(name: string, { container }: Task): Promise<void> {
    const graceMs = container.stopGracePeriodMs
    const command = (verb: string) =>
      ask(docker, { method: 'POST', path: `/containers/${name}/${verb}` })
    const killing = setTimeout(() => void command('kill').catch(() => {}), graceMs)
    // The engine knows whole seconds only, and the image's own stop signal.
    const stopping = command(`stop?t=${Math.ceil(graceMs / 1000)}`).catch((error: unknown) => {
      logger.warn({ err: error, container: name }, 'stopping a container failed')
    })
    await withinMs(stopping, graceMs + STOP_REPORT_MS)
    clearTimeout(killing)
  }

  /** Behind the answer. A failure is left to the sweep. */
  function remove(name: string, pending: Promise<unknown>): void {
    const path = `/containers/${name}?force=1&v=1`
    const removal = withinMs(pending, ANSWER_MS)
      .then(() => withinMs(ask(docker, { method: 'DELETE', path }), ANSWER_MS))
      .then(() => undefined)
      .catch((error: unknown) => {
        if (!isStatus(error, 404, 409)) {
          logger.warn(
            { err: error, container: name },
            'removing a container failed; the next sweep tries again',
          )
        }
      })
      .finally(() => removals.delete(name))
    removals.set(name, removal)
  }

  async function sweep(isLive: (invocationId: string) => boolean): Promise<number> {
    const filters = JSON.stringify({ label: [`${GATEWAY_LABEL}=${gatewayId}`] })
    const path = `/containers/json?${new URLSearchParams({ all: '1', filters }).toString()}`
    const listing = ask(docker, { method: 'GET', path }).catch((error: unknown) => {
      throw toEngineError(error)
    })
    const containers = (await withinMs(listing, ANSWER_MS)) as Docker.ContainerInfo[] | undefined
    if (!containers) throw toEngineError(new Error('no answer'))
    const names = containers
      .map(({ Labels }) => Labels[INVOCATION_LABEL])
      .filter((id): id is string => id !== undefined && !isLive(id))
      .map(toContainerName)
      .filter((name) => !removals.has(name))
    for (const name of names) remove(name, Promise.resolve())
    await idle()
    return names.length
  }

  async function idle(): Promise<void> {
    while (removals.size > 0) await Promise.all(removals.values())
  }

  return {
    kind: 'container',
    run,
    sweep,
    idle,
    ping: () => readEngineInfo(docker),
    findImageDigest: (image) => images.findDigest(image),
  }
}

/** The end, once all output is handed on, or is sure not to come. */
async function drained(end: TaskEnd, copying: Promise<void>, stop: TaskStop): Promise<TaskEnd> {
  const stopped = whenStopped(stop)
  const copied = copying.then(
    () => true,
    () => false,
  )
  const whole = await Promise.race([copied, stopped.promise.then(() => withinMs(copied, DRAIN_MS))])
  stopped.dispose()
  if (whole || end.kind !== 'exited') return end
  if (stop.aborted) return { kind: 'stopped', by: stop.reason, exitCode: end.exitCode }
  return lost(new Error("the output's connection broke off"))
}

function lost(cause: unknown): TaskEnd {
  return { kind: 'lost', failure: new Lost(cause).failure }
}
