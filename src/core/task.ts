import type { ContainerSpec, FunctionSpec } from './function.ts'
import type { Invocation } from './invocation.ts'
import { resolve } from './parameters.ts'

/** What an engine is given to run: one container, everything of the call filled in. */
export interface Task {
  readonly invocationId: string
  /** What was called: the same object for as long as its definition does not change. */
  readonly spec: FunctionSpec
  readonly container: ContainerSpec
}

export interface TaskIo {
  /** Read at the command's pace. An error in it leaves the command with a cut-off input: abort `stop` then. */
  readonly stdin: AsyncIterable<Uint8Array> | undefined
  readonly stdout: Sink
  readonly stderr: Sink
  /** The command has started. */
  started?(): void
}

/** Takes output. A promise holds the next chunk back until it is fulfilled; the chunk's memory is the sink's own. */
export type Sink = (chunk: Uint8Array) => void | Promise<void>

/** The same resolved command and environment for every engine. */
export function toTask(spec: FunctionSpec, invocation: Invocation): Task {
  const { command, entrypoint, environment } = resolve(spec, invocation.parameters)
  return {
    invocationId: invocation.id,
    spec,
    container: {
      ...spec.container,
      ...(command && { command }),
      ...(entrypoint && { entrypoint }),
      environment: {
        ...environment,
        ONESHOT_INVOCATION_ID: invocation.id,
        ONESHOT_FUNCTION: spec.name,
      },
    },
  }
}
