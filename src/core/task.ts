import type { ContainerSpec, FunctionSpec } from './function.ts'
import type { Invocation } from './invocation.ts'
import { resolve } from './parameters.ts'

/** What an engine is given to run: one container, everything of the call filled in. */
export interface Task {
  readonly invocationId: string
  readonly functionName: string
  readonly container: ContainerSpec
  /** How much of the output the engine keeps in its own log of the container. */
  readonly logBytes: number
}

/** The same resolved command and environment for every engine. */
export function toTask(spec: FunctionSpec, invocation: Invocation): Task {
  const { command, entrypoint, environment } = resolve(spec, invocation.parameters)
  return {
    invocationId: invocation.id,
    functionName: spec.name,
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
    logBytes: spec.limits.logBytes,
  }
}
