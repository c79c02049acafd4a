import type Docker from 'dockerode'
import { OneshotError } from '../../core/error.ts'
import type { ContainerSpec } from '../../core/function.ts'
import type { Failure } from '../../core/outcome.ts'
import type { Credentials } from '../credentials.ts'
import { ANSWER_MS, ask, isStatus, toMessage, toRegistryAuth } from '../docker.ts'
import type { ImageFacts, ImageFactsReader } from '../image-facts.ts'
import { createImageFacts } from '../image-facts.ts'
import type { Images } from '../image.ts'
import { createImages, findRepoDigest } from '../image.ts'
import { GATEWAY_LABEL, toLabels } from '../labels.ts'
import { NotStarted, isImageMissing } from '../refusal.ts'
import { isImageId, parseReference } from '../../core/reference.ts'
import type { Managers } from './managers.ts'

export interface SwarmImagesDeps {
  readonly managers: Managers
  readonly gatewayId: string
  readonly credentials: Credentials
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** What of images matters before a node has them. */
export interface SwarmImages {
  /**
   * The name under which all nodes run the same image, without asking its registry for each task: pinned to its digest,
   * if a manager's engine or the registry tells that. Rejects with `NotStarted` if the policy is `always` and the registry won't tell.
   */
  pin(container: ContainerSpec): Promise<Pinned>
  /** Of an image that a manager's engine has, or then pulls. Rejects with why it can't be had. */
  facts(image: string, container: ContainerSpec): Promise<ImageFacts>
  findDigest(image: string): Promise<string | undefined>
  /** Removes what a crash has left of looking into images. */
  sweep(): Promise<void>
  close(): Promise<void>
}

export interface Pinned {
  readonly image: string
  /** Why its registry did not tell a digest. */
  readonly trouble?: Failure
}

interface Asked {
  readonly digest?: string
  readonly trouble?: Failure
  readonly at: number
}

/** For so long a registry's answer holds: a tag may move. */
const DIGEST_MS = 5 * 60_000
/** For so long a registry that did not answer is left alone. */
const TROUBLE_MS = 60_000
/** So long a call waits for a registry's answer. */
const REGISTRY_MS = 10_000
const MAX_REMEMBERED = 500
/** How long a manager may take to pull an image that is to be looked into. */
const PULL_MS = 10 * 60_000
const PROBE = 'oneshot-probe-'
/** How long each manager's engine may take to list what a crash has left there. */
const SWEEP_MS = 5_000

export function createSwarmImages(deps: SwarmImagesDeps): SwarmImages {
  const { managers, gatewayId, credentials, newId, clock } = deps
  const byEngine = new Map<Docker, { images: Images; reader: ImageFactsReader }>()
  const asked = new Map<string, Promise<Asked>>()
  const known = new Map<string, Promise<ImageFacts>>()

  function on(docker: Docker) {
    let parts = byEngine.get(docker)
    if (!parts) {
      parts = {
        images: createImages({ docker, credentials, clock }),
        reader: createImageFacts(docker),
      }
      byEngine.set(docker, parts)
    }
    return parts
  }

  async function pin({ image, pullPolicy }: ContainerSpec): Promise<Pinned> {
    if (isImageId(image) || parseReference(image).digest !== undefined) return { image }
    const local = pullPolicy === 'always' ? undefined : await findLocal(image)
    if (local !== undefined) return { image: local }
    if (pullPolicy === 'never') return { image }
    const { digest, trouble } = await askRegistry(image, pullPolicy === 'always')
    if (digest !== undefined) return { image: `${image}@${digest}` }
    if (trouble && pullPolicy === 'always') throw new NotStarted(trouble.code, trouble.detail)
    return { image, ...(trouble && { trouble }) }
  }

  /** By its digest, or by its id if it never was in a registry: every node has it by then, or can't get it. */
  async function findLocal(image: string): Promise<string | undefined> {
    const inspected = await inspect(image)
    if (!inspected) return undefined
    const { Id, RepoDigests } = inspected
    const digest = findRepoDigest(RepoDigests ?? [], parseReference(image))
    return digest === undefined ? Id : `${image}@${digest}`
  }

  async function inspect(image: string): Promise<Docker.ImageInspectInfo | undefined> {
    const path = `/images/${image}/json`
    const question = { method: 'GET', path, withinMs: ANSWER_MS } as const
    return (await managers.ask(question).catch((error: unknown) => {
      if (isStatus(error, 404)) return undefined
      throw error
    })) as Docker.ImageInspectInfo | undefined
  }

  async function askRegistry(image: string, isAnew: boolean): Promise<Asked> {
    const before = await asked.get(image)
    const isFresh =
      before && clock() - before.at < (before.digest === undefined ? TROUBLE_MS : DIGEST_MS)
    if (isFresh && !isAnew) return before
    const asking = askRegistryNow(image)
    asked.delete(image)
    asked.set(image, asking)
    forgetOldest(asked)
    return asking
  }

  async function askRegistryNow(image: string): Promise<Asked> {
    try {
      const auth = await credentials.find(image)
      const answer = await managers.ask({
        method: 'GET',
        path: `/distribution/${image}/json`,
        headers: auth ? { 'X-Registry-Auth': toRegistryAuth(auth) } : {},
        withinMs: REGISTRY_MS,
        rideOutMs: 0,
      })
      const { digest } = (answer as { Descriptor: { digest: string } }).Descriptor
      return { digest, at: clock() }
    } catch (error) {
      return { trouble: toTrouble(image, error), at: clock() }
    }
  }

  async function facts(image: string, container: ContainerSpec): Promise<ImageFacts> {
    const docker = managers.current()
    const id = (await on(docker).reader.findId(image)) ?? (await pull(docker, image, container))
    const remembered = known.get(id)
    if (remembered) return remembered
    const reading = probe(docker, image)
    known.set(id, reading)
    reading.catch(() => known.delete(id))
    forgetOldest(known)
    return reading
  }

  async function pull(docker: Docker, image: string, wanted: ContainerSpec): Promise<string> {
    const { images, reader } = on(docker)
    if (wanted.pullPolicy === 'never') throw toMissing(image)
    await images.pull(image, wanted.platform, AbortSignal.timeout(PULL_MS))
    const id = await reader.findId(image)
    if (id === undefined) throw toMissing(image)
    return id
  }

  /** A container that is never started can be looked into. */
  async function probe(docker: Docker, image: string): Promise<ImageFacts> {
    const name = `${PROBE}${newId()}`
    const body = { Image: image, Cmd: ['true'], Labels: toLabels({ gatewayId }) }
    const path = `/containers/create?name=${name}`
    try {
      await ask(docker, { method: 'POST', path, body, withinMs: ANSWER_MS })
      return await on(docker).reader.of(name)
    } catch (error) {
      throw isImageMissing(error) ? toMissing(image) : error
    } finally {
      void removeProbe(docker, name)
    }
  }

  async function removeProbe(docker: Docker, name: string): Promise<void> {
    const path = `/containers/${name}?force=1&v=1`
    // What stays is left to the sweep.
    await ask(docker, { method: 'DELETE', path, withinMs: ANSWER_MS }).catch(() => {})
  }

  /** One that does not answer now is looked at another time. */
  async function sweep(): Promise<void> {
    await Promise.all(managers.engines.map((docker) => sweepOn(docker).catch(() => {})))
  }

  async function sweepOn(docker: Docker): Promise<void> {
    const filters = JSON.stringify({
      label: [`${GATEWAY_LABEL}=${gatewayId}`],
      name: [PROBE],
      status: ['created'],
    })
    const path = `/containers/json?${new URLSearchParams({ all: '1', filters }).toString()}`
    const left = (await ask(docker, { method: 'GET', path, withinMs: SWEEP_MS })) as {
      Names: string[]
      Created: number
    }[]
    const old = left.filter(({ Created }) => clock() - Created * 1000 > ANSWER_MS)
    await Promise.all(old.map(({ Names }) => removeProbe(docker, Names[0]?.slice(1) ?? '')))
  }

  return {
    pin,
    facts,
    sweep,
    findDigest: (image) => on(managers.current()).images.findDigest(image),
    async close() {
      await Promise.all(byEngine.values().map(({ images }) => images.close()))
    },
  }
}

function forgetOldest(map: Map<string, unknown>): void {
  const [oldest] = map.keys()
  if (map.size > MAX_REMEMBERED && oldest !== undefined) map.delete(oldest)
}

function toMissing(image: string): NotStarted {
  return new NotStarted('image_not_found', `No manager of the swarm has the image ${image}.`)
}

function toTrouble(image: string, error: unknown): Failure {
  if (error instanceof OneshotError && error.code !== 'engine_unreachable') {
    return { code: error.code, detail: error.message }
  }
  const message = toMessage(error)
  return isStatus(error, 401, 403, 404) || /not found|denied|unknown/i.test(message)
    ? {
        code: 'image_not_found',
        detail: `The registry has no image ${image} for this gateway: ${message}`,
      }
    : {
        code: 'image_pull_failed',
        detail: `The registry of ${image} did not tell of it: ${message}`,
      }
}
