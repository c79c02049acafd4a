import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import type { TaskEnd, TaskResult } from '../core/outcome.ts'
import type { Sink, Task, TaskHandle } from '../core/task.ts'
import { followBare } from './bare.ts'
import { ANSWER_MS, ask, isStatus, openStream, toEngineError } from './docker.ts'
import type { Engine, ResumeIo, TaskStop } from './engine.ts'
import type { Exits } from './exit.ts'
import { toLost } from './exit.ts'
import type { Following } from './follow.ts'
import { followGated, toProgram } from './gated.ts'
import type { ImageFactsReader } from './image-facts.ts'
import type { Launcher } from './launch.ts'
import { copyLog } from './log.ts'
import type { Output } from './output.ts'
import { withinMs } from './stop.ts'

export interface ResumerDeps {
  readonly docker: Docker
  readonly launcher: Launcher
  readonly exits: Exits
  readonly imageFacts: ImageFactsReader
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** The host that runs it. */
  readonly node: () => string
  /** How long a container whose command has ended may take to end by itself. */
  readonly leavingMs: number
}

/** Names are put into paths as they are. */
const NAME = /^oneshot-[\w-]+$/
/** How long the engine's words may contradict each other. */
const SETTLE_MS = 100

type State = Docker.ContainerInspectInfo['State']

interface Resumed {
  readonly handle: TaskHandle
  readonly over: AbortSignal
  readonly ending: Promise<TaskEnd>
  readonly hasEnded: boolean
}

/** The stop of what has ended already. */
const NEVER: TaskStop = new AbortController().signal

/** Takes up, or ends, what a former process of the gateway has placed. */
export function createResumer(deps: ResumerDeps): Pick<Engine, 'resume' | 'abandon'> {
  const { docker, launcher, exits, imageFacts, clock, node, leavingMs } = deps

  async function resume(
    task: Task,
    handle: TaskHandle,
    io: ResumeIo,
    stop: TaskStop,
  ): Promise<TaskResult | 'never_ran'> {
    const { name, start } = handle
    checkName(name)
    const over = launcher.adopt(name)
    const state = await findState(name)
    if (state === 'never_ran') {
      await remove(name)
      return state
    }
    if (state === undefined) {
      await remove(name)
      const end = toLost(new Error('its container was gone when the gateway took it up again'))
      return { ...end, start, node: node(), finishedAt: clock(), timings: {} }
    }
    const ending = exits.wait(name)
    const hasEnded = state.Status === 'exited'
    let exitedAt: number | undefined
    const onExit = () => {
      exitedAt ??= clock()
    }
    const following = { task, io, exits, onExit, stop: hasEnded ? NEVER : stop }
    const end = await follow({ handle, over, ending, hasEnded }, following)
    if (end === 'never_ran') {
      await remove(name)
      return end
    }
    // A gate tells of a command that was killed; one that could not was killed along with it.
    const isTold = handle.nonce !== undefined && exitedAt !== undefined
    const wasKilled = end.kind === 'exited' && end.exitCode === KILLED && !end.oomKilled
    const truth = hasEnded && wasKilled && !isTold ? toLost(new Error(KILLED_MEANWHILE)) : end
    const left = withinMs(ending, leavingMs)
    launcher.discard(name, { until: Promise.all([left, io.recorded]) })
    const collectedAt = clock()
    const endedAt = hasEnded ? Date.parse(state.FinishedAt) : (exitedAt ?? collectedAt)
    const startedAt = handle.nonce === undefined ? Date.parse(state.StartedAt) : handle.placedAt
    return {
      ...truth,
      ...(truth.kind !== 'not_started' && { startedAt }),
      start,
      node: node(),
      finishedAt: hasEnded ? endedAt : collectedAt,
      timings: {
        // The engine's clock need not be ours.
        runMs: Math.max(0, endedAt - startedAt),
        ...(!hasEnded && { collectMs: collectedAt - endedAt }),
      },
    }
  }

  /** Waits for it: whoever runs the task anew uses the same name. */
  async function remove(name: string): Promise<void> {
    launcher.discard(name)
    await launcher.remove(name)
  }

  /** Undefined if it is gone. */
  async function findState(name: string): Promise<State | 'never_ran' | undefined> {
    for (;;) {
      const state = await inspect(name)
      if (state === undefined || ['removing', 'dead'].includes(state.Status)) return undefined
      if (state.Status !== 'created') return state
      // The former process may have asked for its start just now: the engine refuses to remove what runs.
      if (await removeUnlessRunning(name)) return 'never_ran'
      await sleep(SETTLE_MS)
    }
  }

  async function inspect(name: string): Promise<State | undefined> {
    try {
      const path = `/containers/${name}/json`
      const answer = await ask(docker, { method: 'GET', path, withinMs: ANSWER_MS })
      return (answer as Docker.ContainerInspectInfo).State
    } catch (error) {
      if (isStatus(error, 404)) return undefined
      throw toEngineError(error)
    }
  }

  async function removeUnlessRunning(name: string): Promise<boolean> {
    try {
      const path = `/containers/${name}?v=1`
      await ask(docker, { method: 'DELETE', path, withinMs: ANSWER_MS })
      return true
    } catch (error) {
      if (isStatus(error, 404, 409)) return false
      throw toEngineError(error)
    }
  }

  async function follow(
    { handle: { name, nonce }, over, ending, hasEnded }: Resumed,
    following: Following,
  ): Promise<TaskEnd | 'never_ran'> {
    const { container } = following.task
    const cutting = new AbortController()
    const path = `/containers/${name}/logs`
    const log = {
      open: (query: string, until: AbortSignal) => openStream(docker, `${path}?${query}`, until),
      tty: container.tty,
      ended: ending,
      hasEnded,
    }
    let pieces = 0
    const counting =
      (sink: Sink): Sink =>
      (chunk) => {
        pieces += 1
        return sink(chunk)
      }
    let failure: unknown
    const followed = {
      name,
      async copy({ stdout, stderr }: Output) {
        const output = { stdout: counting(stdout), stderr: counting(stderr) }
        const copying = copyLog(log, output, AbortSignal.any([over, cutting.signal]))
        await copying.catch((error: unknown) => {
          failure = error
          throw error
        })
      },
      cut: () => cutting.abort(),
    }
    if (nonce === undefined) return followBare(followed, following)
    // Names a command that is not there.
    const facts = await imageFacts.of(name).catch(() => undefined)
    const program = facts ? toProgram(container, facts) : ''
    const end = await followGated({ ...followed, nonce, program }, following)
    if (end === 'never_ran' || end.kind !== 'exited') return end
    if (failure !== undefined) return toLost(failure)
    // Without a word the gate goes only if it has not even got its nonce.
    return pieces === 0 && end.exitCode === 0 ? 'never_ran' : end
  }

  async function abandon({ name }: TaskHandle): Promise<'never_ran' | undefined> {
    checkName(name)
    // No sweep may take it before it is known whether it has run.
    launcher.adopt(name)
    const state = await findState(name).catch(() => undefined)
    await remove(name)
    return state === 'never_ran' ? state : undefined
  }

  return { resume, abandon }
}

/** 128 + SIGKILL */
const KILLED = 137
const KILLED_MEANWHILE =
  "its container was killed while no gateway was there, as by its engine's end"

function checkName(name: string): void {
  if (!NAME.test(name)) throw new Error(`"${name}" is no name of a container of ours`)
}
