import { tmpdir } from 'node:os'
import { pino } from 'pino'
import type { Task } from '../../src/core/task.ts'
import { createContainerEngine } from '../../src/engine/container.ts'
import { connectEndpoint } from '../../src/engine/endpoint.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { createFiles } from '../../src/engine/files.ts'
import { createImages } from '../../src/engine/image.ts'
import { functionSpec } from '../function-spec.ts'

/** As the program builds it, of a gateway that has no store. */
export function startContainerEngine(gatewayId: string, maxNamespaces = 0): Engine {
  const { docker } = connectEndpoint({
    host: process.env['DOCKER_HOST'],
    onTrouble: () => {},
  })
  const credentials = { find: () => Promise.resolve(undefined) }
  return createContainerEngine({
    docker,
    gatewayId,
    images: createImages({ docker, credentials, clock: Date.now }),
    files: createFiles({ docker, secretsFolder: tmpdir(), configsFolder: tmpdir() }),
    newId: () => crypto.randomUUID(),
    logger: pino({ level: 'warn' }, process.stderr),
    clock: Date.now,
    maxNamespaces,
  })
}

export interface TaskOptions {
  /** Through the gate. */
  readonly gated?: boolean
  readonly container?: Partial<Task['container']>
  readonly logBytes?: number
}

/** Of a shell's script, without a network. */
export function shellTask(
  script: string,
  { gated = false, container, logBytes = 16 * 1024 ** 2 }: TaskOptions = {},
): Task {
  const spec = functionSpec({
    name: 'resumed',
    warm: { min: 0, max: gated ? 1 : 0 },
    limits: { inputBytes: 1024 ** 3, outputBytes: 1024 ** 2, logBytes },
    container: {
      command: ['sh', '-c', script],
      networkMode: 'none',
      capDrop: ['ALL'],
      ...container,
    },
  })
  return { invocationId: crypto.randomUUID(), attempt: 1, spec, container: spec.container }
}
