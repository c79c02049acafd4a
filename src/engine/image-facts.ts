import type Docker from 'dockerode'
import { ANSWER_MS, ask, isStatus } from './docker.ts'

/** What an image brings along that its containers' gate has to know. */
export interface ImageFacts {
  /** `sha256:…` */
  readonly id: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly stopSignal: string | undefined
  readonly hasShell: boolean
}

export interface ImageFactsReader {
  /** Of the image of a container that has been created. Rejects with the engine's error. */
  of(container: string): Promise<ImageFacts>
  /** The id of the image that a name stands for now; undefined if the engine has none. Rejects with the engine's error. */
  findId(image: string): Promise<string | undefined>
}

/** What `GET /images/NAME/json` says, as far as it concerns the gate. */
interface Inspected {
  readonly Id: string
  readonly Config: Pick<Docker.ImageInspectInfo['Config'], 'Entrypoint' | 'Cmd' | 'Env'> & {
    readonly StopSignal?: string
  }
}

/** Images don't change, their names do: this many are remembered. */
const MAX_REMEMBERED = 500

export function createImageFacts(docker: Docker): ImageFactsReader {
  const known = new Map<string, Promise<ImageFacts>>()

  async function of(container: string): Promise<ImageFacts> {
    const { Image: id } = (await get(
      `/containers/${container}/json`,
    )) as Docker.ContainerInspectInfo
    const remembered = known.get(id)
    if (remembered) return remembered
    const reading = read(id, container)
    known.set(id, reading)
    reading.catch(() => known.delete(id))
    const [oldest] = known.keys()
    if (known.size > MAX_REMEMBERED && oldest !== undefined) known.delete(oldest)
    return reading
  }

  async function read(id: string, container: string): Promise<ImageFacts> {
    const [image, hasShell] = await Promise.all([get(`/images/${id}/json`), findShell(container)])
    const { Entrypoint, Cmd, Env, StopSignal } = (image as Inspected).Config
    return {
      id,
      entrypoint: toList(Entrypoint),
      command: toList(Cmd),
      environment: Object.fromEntries((Env ?? []).map(toVariable)),
      stopSignal: StopSignal,
      hasShell,
    }
  }

  /** Asked of the created container, so that nothing has to be started to find out. */
  async function findShell(container: string): Promise<boolean> {
    const path = `/containers/${container}/archive?path=/bin/sh`
    const found = await unlessMissing(
      ask(docker, { method: 'HEAD', path, withinMs: ANSWER_MS }).then(() => true),
    )
    return found ?? false
  }

  async function findId(image: string): Promise<string | undefined> {
    const inspected = await unlessMissing(get(`/images/${encodeURIComponent(image)}/json`))
    return (inspected as Inspected | undefined)?.Id
  }

  function get(path: string): Promise<unknown> {
    return ask(docker, { method: 'GET', path, withinMs: ANSWER_MS })
  }

  return { of, findId }
}

async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (isStatus(error, 404)) return undefined
    throw error
  }
}

function toList(value: string | readonly string[] | null | undefined): readonly string[] {
  return typeof value === 'string' ? [value] : (value ?? [])
}

function toVariable(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
