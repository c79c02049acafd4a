import type { ContainerSpec, FunctionSpec } from './function.ts'
import type { Invocation } from './invocation.ts'
import type { Start } from './outcome.ts'
import { resolve } from './parameters.ts'

/** What an engine is given to run: one container, everything of the call filled in. */
export interface Task {
  readonly invocationId: string
  /** From 1 on. */
  readonly attempt: number
  /** What was called: the same object for as long as its definition does not change. */
  readonly spec: FunctionSpec
  readonly container: ContainerSpec
  /** The names of variables that the call brings, whatever the definition says of them. */
  readonly ownVariables?: readonly string[]
}

export interface TaskIo {
  /** Read at the command's pace. An error in it leaves the command with a cut-off input: abort `stop` then. */
  readonly stdin: AsyncIterable<Uint8Array> | undefined
  readonly stdout: Sink
  readonly stderr: Sink
  /**
   * The engine has a place for the command, which runs there once this is fulfilled: what has no handle has not run.
   * Whoever stores the handle can have another process take the task up again. Another one may follow, if the engine
   * would not start the command in the first place: it stands in for the former. If this rejects, so does the run.
   */
  placed?(handle: TaskHandle): Promise<void>
  /** How far the engine has come, where that is not at once. What was told before holds no longer. */
  progress?(progress: TaskProgress): void
  /** The command has started. */
  started?(): void
  /** All of stdin has been handed over, if there is one: the command has it, or will, without this process. */
  inputDelivered?(): void
  /** What was placed is kept until this is settled: by then its end is on record. */
  readonly recorded?: Promise<unknown>
}

export interface TaskProgress {
  /** The host name of where it is, once that is chosen. */
  readonly node?: string
  /** Why it has not started yet, in the engine's words. */
  readonly waitingFor?: string
}

/** By which an engine finds a task again that it was given by a former process. Plain data. */
export interface TaskHandle {
  /** Of its container. */
  readonly name: string
  /** Of its container's gate, if it has one. */
  readonly nonce?: string
  readonly start: Start
  /** Milliseconds since the epoch. */
  readonly placedAt: number
}

/** Takes output. A promise holds the next chunk back until it is fulfilled; the chunk's memory is the sink's own. */
export type Sink = (chunk: Uint8Array) => void | Promise<void>

/** What has been started already, perhaps by another process: its command was filled in then. */
export function toStartedTask(spec: FunctionSpec, { id, attempts }: Invocation): Task {
  return {
    invocationId: id,
    attempt: Math.max(1, attempts.length),
    spec,
    container: spec.container,
  }
}

/** The same resolved command and environment for every engine. */
export function toTask(spec: FunctionSpec, invocation: Invocation): Task {
  const attempt = Math.max(1, invocation.attempts.length)
  const { command, entrypoint, environment } = resolve(spec, invocation.parameters)
  return {
    invocationId: invocation.id,
    attempt,
    spec,
    ...(invocation.environment && { ownVariables: Object.keys(invocation.environment) }),
    container: {
      ...spec.container,
      ...(command && { command }),
      ...(entrypoint && { entrypoint }),
      environment: {
        ...environment,
        ...invocation.environment,
        ONESHOT_INVOCATION_ID: invocation.id,
        ONESHOT_FUNCTION: spec.name,
        ONESHOT_ATTEMPT: String(attempt),
        // An engine that hands the input over in another way says where.
        ...(spec.input === 'file' && { ONESHOT_INPUT_FILE: '/dev/stdin' }),
      },
    },
  }
}
