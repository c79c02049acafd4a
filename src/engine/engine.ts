import type { StopReason, TaskResult } from '../core/outcome.ts'
import type { Task, TaskIo } from '../core/task.ts'

/** Runs tasks: in containers of one host, or on a swarm. */
export interface Engine {
  readonly kind: 'container' | 'swarm'

  /**
   * Runs one task to its end, and begins to remove what it left before it returns. A non-zero exit is a result, and so
   * is an image that is not there. `stop` (its reason a `StopReason`) stops the task; what it had printed by then has
   * been written. Rejects with `engine_unreachable` if the engine can't be reached before the command has started.
   */
  run(task: Task, io: TaskIo, stop: TaskStop): Promise<TaskResult>

  /** Removes what carries this gateway's labels and belongs to no live invocation: how many. Rejects if the engine is unreachable. */
  sweep(isLive: (invocationId: string) => boolean): Promise<number>

  /** Rejects with `engine_unreachable`. */
  ping(): Promise<EngineInfo>

  /** The digest of a local image, such as `sha256:…`; undefined if it is not there or the engine can't tell. */
  findImageDigest(image: string): Promise<string | undefined>

  /** Waits until all that is to be removed is removed, or found impossible to. */
  idle(): Promise<void>
}

export interface TaskStop extends AbortSignal {
  readonly reason: StopReason
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
