import type Docker from 'dockerode'
import { OneshotError } from '../core/error.ts'
import type { ContainerSpec } from '../core/function.ts'
import type { Credentials } from './credentials.ts'
import { ask } from './docker.ts'
import { pullImage } from './pull.ts'
import type { Reference } from '../core/reference.ts'
import { isImageId, parseReference } from '../core/reference.ts'
import { withinMs } from './stop.ts'

export interface Images {
  /**
   * What the policy asks for before a container is created. `always` pulls, and fails if that fails, even if the image is
   * there. `missing` and `never` do nothing yet: the engine tells that it misses the image, which spares each call a question.
   */
  ensure(image: string, wanted: Wanted, signal: AbortSignal): Promise<{ readonly pullMs?: number }>

  /**
   * Pulls the image, or waits for the pull of it that is under way. `signal` ends only the wait, with its reason: the
   * pull goes on for the next caller. Rejects with `image_not_found` if the registry has no such image for us, with
   * `image_pull_failed` if it can't be had now, with `engine_unreachable`, or with `shutting_down`.
   */
  pull(image: string, platform: string | undefined, signal: AbortSignal): Promise<void>

  /**
   * The digest by which the image's registry knows it, or else the image's id: `sha256:…`. Undefined if it is not on the
   * engine, or the engine does not answer.
   */
  findDigest(image: string): Promise<string | undefined>

  /** Cancels the pulls, and waits until they are over. */
  close(): Promise<void>
}

interface Wanted {
  readonly policy: ContainerSpec['pullPolicy']
  /** `os[/arch[/variant]]` */
  readonly platform?: string | undefined
}

export interface ImagesOptions {
  readonly docker: Docker
  readonly credentials: Credentials
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** A pull that reports nothing for so long is given up, lest its image be held up for ever. */
  readonly stallMs?: number
}

const STALL_MS = 10 * 60_000
/** An engine that takes longer to tell of an image does not answer. */
const INSPECT_MS = 4_000

/** Keeps the engine's images as the functions' pull policies want them: one pull at a time of one image. */
export function createImages(options: ImagesOptions): Images {
  const { docker, credentials, clock, stallMs = STALL_MS } = options
  const pulls = new Map<string, Promise<void>>()
  const closing = new AbortController()

  async function ensure(image: string, { policy, platform }: Wanted, signal: AbortSignal) {
    if (policy !== 'always') return {}
    const startedAt = clock()
    await pull(image, platform, signal)
    return { pullMs: clock() - startedAt }
  }

  async function pull(
    image: string,
    platform: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted()
    closing.signal.throwIfAborted()
    const reference = parseReference(image)
    const key = JSON.stringify([reference, platform])
    await untilAborted(pulls.get(key) ?? startPull(key, image, reference, platform), signal)
  }

  function startPull(key: string, ...wanted: Parameters<typeof download>): Promise<void> {
    const pulling = download(...wanted).finally(() => pulls.delete(key))
    // Its failure is for those who wait; by then there may be nobody.
    pulling.catch(() => {})
    pulls.set(key, pulling)
    return pulling
  }

  async function download(
    image: string,
    reference: Reference,
    platform: string | undefined,
  ): Promise<void> {
    const stall = new AbortController()
    const timer = setTimeout(() => stall.abort(stalled(image, stallMs)), stallMs)
    const signal = AbortSignal.any([closing.signal, stall.signal])
    try {
      const auth = await credentials.find(image)
      const onProgress = () => timer.refresh()
      await pullImage(docker, { image, reference, platform, auth, signal, onProgress })
    } catch (error) {
      signal.throwIfAborted()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  async function findDigest(image: string): Promise<string | undefined> {
    try {
      // The name goes into the path as it is: only what parses is fit for that.
      const reference = isImageId(image) ? undefined : parseReference(image)
      const inspecting = ask(docker, { method: 'GET', path: `/images/${image}/json` })
      const inspected = (await withinMs(inspecting, INSPECT_MS)) as Docker.ImageInspectInfo
      const { Id, RepoDigests } = inspected
      return (reference && findRepoDigest(RepoDigests ?? [], reference)) ?? Id
    } catch {
      return undefined
    }
  }

  async function close(): Promise<void> {
    closing.abort(new OneshotError('shutting_down', 'The gateway is shutting down.'))
    await Promise.allSettled(pulls.values())
  }

  return { ensure, pull, findDigest, close }
}

/** An image pulled under several names, or by several manifests, has a digest for each. */
export function findRepoDigest(
  repoDigests: readonly string[],
  wanted: Reference,
): string | undefined {
  const digests = repoDigests
    .map((name) => parseReference(name))
    .filter((it) => it.registry === wanted.registry && it.repository === wanted.repository)
    .map((it) => it.digest)
  return digests.find((digest) => digest === wanted.digest) ?? digests[0]
}

async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function stalled(image: string, stallMs: number): OneshotError {
  const detail = `The image ${image} could not be pulled: nothing came for ${stallMs / 1000} s.`
  return new OneshotError('image_pull_failed', detail)
}
