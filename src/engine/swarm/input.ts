import { chmod, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { OneshotError } from '../../core/error.ts'
import type { Task } from '../../core/task.ts'
import { isStatus, toMessage } from '../docker.ts'
import { toLabels } from '../labels.ts'
import { NotStarted } from '../refusal.ts'
import type { Managers } from './managers.ts'

/** How a task gets its input. */
export type ServiceInput =
  | { readonly kind: 'config'; readonly config: SwarmFile }
  /** A file of a volume, at `path` in it. */
  | {
      readonly kind: 'volume'
      readonly volume: string
      readonly driver: VolumeDriver | undefined
      readonly path: string
    }

/** A config or a secret of the swarm, by both of its names: the managers want them to agree. */
export interface SwarmFile {
  readonly id: string
  readonly name: string
}

export interface VolumeDriver {
  readonly Name: string
  readonly Options: Readonly<Record<string, string>>
}

/** A volume that all nodes share. */
export interface SpoolVolume {
  readonly name: string
  /** Where the gateway itself has it. */
  readonly folder: string
}

export interface InputsDeps {
  readonly managers: Managers
  readonly gatewayId: string
  readonly spool: SpoolVolume | undefined
}

export interface Inputs {
  /** Puts an input where the task will find it, whatever its node; undefined: it is empty. Rejects with `input_too_large` if there is no such place. */
  put(name: string, task: Task, stdin: AsyncIterable<Uint8Array>): Promise<ServiceInput | undefined>
  /** Of those that are in the volume. */
  list(): Promise<readonly string[]>
  /** What is in the volume. A config is removed with its service. */
  remove(name: string): Promise<void>
}

/** A config has less than 1000 KiB, say the managers. */
const MAX_CONFIG_BYTES = 1000 * 1024 - 1

export function createInputs({ managers, gatewayId, spool }: InputsDeps): Inputs {
  const folder = spool && join(spool.folder, gatewayId)

  async function put(
    name: string,
    task: Task,
    stdin: AsyncIterable<Uint8Array>,
  ): Promise<ServiceInput | undefined> {
    const begun: Uint8Array[] = []
    let length = 0
    const rest = stdin[Symbol.asyncIterator]()
    for (;;) {
      const { done, value } = await rest.next()
      // A config can't be empty.
      if (done && length === 0) return undefined
      if (done) return { kind: 'config', config: await createConfig(name, task, begun) }
      begun.push(value)
      length += value.length
      if (length > MAX_CONFIG_BYTES) break
    }
    if (!spool || folder === undefined) {
      await rest.return?.()
      throw toTooLarge()
    }
    let inputFailure: { readonly error: unknown } | undefined
    const content = joined(begun, rest, (error) => {
      inputFailure = { error }
    })
    const driver = await findDriver(spool.name).catch(async (error: unknown) => {
      await rest.return?.()
      throw error
    })
    await write(folder, name, content).catch((error: unknown) => {
      throw inputFailure ? inputFailure.error : toUnwritable(spool.folder, error)
    })
    return { kind: 'volume', volume: spool.name, driver, path: `${gatewayId}/${name}/input` }
  }

  async function createConfig(
    name: string,
    { invocationId, spec }: Task,
    chunks: readonly Uint8Array[],
  ): Promise<SwarmFile> {
    const body = {
      Name: name,
      Labels: toLabels({ gatewayId, invocationId, functionName: spec.name }),
      Data: Buffer.concat(chunks).toString('base64'),
    }
    try {
      const answer = await managers.ask({ method: 'POST', path: '/configs/create', body })
      return { id: (answer as { ID: string }).ID, name }
    } catch (error) {
      if (!isStatus(error, 409)) throw error
      // Of an earlier request, whose answer was lost.
      const { ID } = (await managers.ask({ method: 'GET', path: `/configs/${name}` })) as {
        ID: string
      }
      return { id: ID, name }
    }
  }

  /** A node that has no volume of the name yet makes one like the managers'. */
  async function findDriver(name: string): Promise<VolumeDriver | undefined> {
    const question = { method: 'GET', path: `/volumes/${name}` } as const
    const volume = (await managers.ask(question).catch((error: unknown) => {
      if (!isStatus(error, 404)) throw error
      const detail = `The manager has no volume "${name}", which ONESHOT_SPOOL_VOLUME names: make it with docker volume create.`
      throw new NotStarted('mount_not_found', detail)
    })) as { Driver: string; Options: Record<string, string> | null }
    return { Name: volume.Driver, Options: volume.Options ?? {} }
  }

  async function remove(name: string): Promise<void> {
    if (folder !== undefined) await rm(join(folder, name), { recursive: true, force: true })
  }

  async function list(): Promise<readonly string[]> {
    return folder === undefined ? [] : readdir(folder).catch(() => [])
  }

  return { put, list, remove }
}

/**
 * Commands run as any user, whatever our umask is: they may read what they have the path of, but only root may list what
 * else there is.
 */
const MODES = { folder: 0o711, file: 0o444 }

async function write(
  root: string,
  name: string,
  content: AsyncIterable<Uint8Array>,
): Promise<void> {
  const folder = join(root, name)
  const made = await mkdir(folder, { recursive: true })
  if (made === root) await chmod(root, MODES.folder)
  await chmod(folder, MODES.folder)
  const file = await open(join(folder, 'input'), 'w')
  try {
    await file.writeFile(content)
    await file.chmod(MODES.file)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function* joined(
  begun: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
  onFailure: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  const take = () =>
    rest.next().catch((error: unknown) => {
      onFailure(error)
      throw error
    })
  try {
    yield* begun
    for (let next = await take(); !next.done; next = await take()) yield next.value
  } finally {
    await rest.return?.()
  }
}

/** No fault of the managers': a call that was told so would be tried again for ever, and the others held up for it. */
function toUnwritable(folder: string, error: unknown): NotStarted {
  const detail = `The input can't be written to ONESHOT_SPOOL_PATH (${folder}): ${toMessage(error)}`
  return new NotStarted('engine_failed', detail, error)
}

function toTooLarge(): OneshotError {
  const detail = `In swarm mode an input may have ${MAX_CONFIG_BYTES} bytes, unless ONESHOT_SPOOL_VOLUME names a volume that all nodes share.`
  return new OneshotError('input_too_large', detail)
}
