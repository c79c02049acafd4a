import type { FunctionSpec } from '../core/function.ts'
import type { StopReason, TaskResult } from '../core/outcome.ts'
import type { Task, TaskHandle, TaskIo } from '../core/task.ts'

/** Runs tasks: in containers of one host, or on a swarm. */
export interface Engine {
  readonly kind: 'container' | 'swarm'

  /**
   * Runs one task to its end, and begins to remove what it left before it returns. A non-zero exit is a result, and so
   * is an image that is not there. `stop` (its reason a `StopReason`) stops the task; what it had printed by then has
   * been written. Rejects with `engine_unreachable` if the engine can't be reached before the command has started.
   */
  run(task: Task, io: TaskIo, stop: TaskStop): Promise<TaskResult>

  /**
   * Takes up again what a former process of the gateway had placed and given all of its input: its output from the
   * beginning, and its end. Of output beyond `limits.logs` the engine may have dropped the beginning, or what came while
   * it was read, but never the end, so that the exit code is found all the same. An output without a gate whose last
   * line is of 16 KiB or more may lack the newline at its very end; one of a tty comes only once it has ended.
   *
   * `never_ran`: its command certainly has not run, and what is left of it is removed. `lost` if its container is gone.
   * One that had ended by itself before is told so, whatever `stop` says. From the call on, without a pause, no sweep
   * takes the container. Rejects with `engine_unreachable`; then the container is still there: resume or abandon it.
   */
  resume(
    task: Task,
    handle: TaskHandle,
    io: ResumeIo,
    stop: TaskStop,
  ): Promise<TaskResult | 'never_ran'>

  /**
   * Ends at once, and removes, what a former process had placed. `never_ran`: its command certainly has not run. Never rejects: what can't be
   * removed is left to the sweep.
   */
  abandon(handle: TaskHandle): Promise<'never_ran' | undefined>

  /** Removes what carries this gateway's labels and belongs to no live invocation: how many. Rejects if the engine is unreachable. */
  sweep(isLive: (invocationId: string) => boolean): Promise<number>

  /** Rejects with `engine_unreachable`, and with `engine_failed` if it is there but can't run anything. */
  ping(): Promise<EngineInfo>

  /** The hosts that tasks may run on. Rejects with `engine_unreachable`. */
  nodes(): Promise<readonly EngineNode[]>

  /**
   * Keeps `count` containers of this function ready, each for one call to come, until it is told another number: 0 lets
   * go of them. Calls come first. Failures are tried again by themselves.
   */
  arm(spec: FunctionSpec, count: number): void

  /** How far that has come, for each function that is or was to be kept. */
  armed(): readonly ArmedState[]

  /** Why calls of this function find no armed container; undefined if they can, as far as is known. */
  findColdReason(spec: FunctionSpec): string | undefined

  /** The digest of a local image, such as `sha256:…`; undefined if it is not there or the engine can't tell. */
  findImageDigest(image: string): Promise<string | undefined>

  /** Lets go of what is ready, but leaves alone what runs, and waits until all that is to be removed is removed, or found impossible to. */
  close(): Promise<void>
}

/** Of a task that runs already: it has had its input. */
export type ResumeIo = Pick<TaskIo, 'stdout' | 'stderr' | 'recorded' | 'started' | 'progress'>

export interface TaskStop extends AbortSignal {
  readonly reason: StopReason
}

export interface ArmedState {
  readonly spec: FunctionSpec
  readonly target: number
  readonly ready: number
  /** How long arming one takes of late, in milliseconds; undefined before the first. */
  readonly armMs: number | undefined
}

export interface EngineInfo {
  readonly name: string
  readonly version: string
  readonly os: string
  /** Where it keeps images, volumes and containers, on its host. Absent if it does not tell. */
  readonly dataRoot?: string
  /** What the operator should know of this engine, such as limits that it ignores. */
  readonly warnings: readonly string[]
}

/** A host that tasks may run on. */
export interface EngineNode {
  readonly id: string
  /** Its host name. */
  readonly name: string
  /** `standalone`: an engine by itself. */
  readonly role: 'manager' | 'worker' | 'standalone'
  readonly isLeader: boolean
  /** Whether it takes tasks: `pause` keeps those that it has, `drain` ends them. */
  readonly availability: 'active' | 'pause' | 'drain'
  readonly state: 'ready' | 'down' | 'disconnected' | 'unknown'
  readonly address?: string
  readonly engineVersion: string
  readonly os: string
  readonly architecture: string
  readonly cpus: number
  readonly memoryBytes: number
  readonly labels: Readonly<Record<string, string>>
  /** Such as GPUs: how many of each kind. */
  readonly genericResources: Readonly<Record<string, number>>
  /** Those of this gateway that run there, or are about to. */
  readonly invocations: readonly string[]
}
