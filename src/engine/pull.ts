import type Docker from 'dockerode'
import { OneshotError } from '../core/error.ts'
import type { RegistryAuth } from './credentials.ts'
import { findStatus, toEngineError, toRegistryAuth } from './docker.ts'
import type { Reference } from '../core/reference.ts'

export interface PullRequest {
  /** As the function names it. */
  readonly image: string
  readonly reference: Reference
  /** `os[/arch[/variant]]`; the engine's own if absent. */
  readonly platform: string | undefined
  readonly auth: RegistryAuth | undefined
  readonly signal: AbortSignal
  /** The engine reported something. */
  readonly onProgress: () => void
}

const MAX_LINE_BYTES = 1024 * 1024
const MAX_MESSAGE_LENGTH = 500

/**
 * Has the engine pull one image. Rejects with `image_not_found` if the registry has no such image for us, with
 * `image_pull_failed` if it can't be had now, and with `engine_unreachable`.
 */
export async function pullImage(docker: Docker, request: PullRequest): Promise<void> {
  const progress = await startPull(docker, request).catch((error: unknown) => {
    if (findStatus(error) === undefined) throw toEngineError(error)
    throw toPullError(request, toEngineMessage(error), findStatus(error))
  })
  const failure = await readFailure(progress, request.onProgress).catch((cause: unknown) => {
    const detail = `The engine's report on pulling the image ${request.image} broke off: try again.`
    throw new OneshotError('image_pull_failed', detail, { cause })
  })
  if (failure !== undefined) throw toPullError(request, failure)
}

/** What dockerode finds outside `_query` it may put into the URL: the credentials go in as a header's value. */
async function startPull(docker: Docker, request: PullRequest): Promise<AsyncIterable<unknown>> {
  const { registry, repository, tag, digest } = request.reference
  const query = {
    fromImage: `${registry}/${repository}`,
    tag: digest ?? tag ?? 'latest',
    ...(request.platform !== undefined && { platform: request.platform }),
  }
  const auth = request.auth && { key: toRegistryAuth(request.auth) }
  return docker.createImage(auth, { _query: query, _body: {}, abortSignal: request.signal })
}

/**
 * Reads the pull's report, lines of JSON, to its end. A pull that began well answers 200, and tells of its failure there.
 */
async function readFailure(
  progress: AsyncIterable<unknown>,
  onProgress: () => void,
): Promise<string | undefined> {
  let failure: string | undefined
  for await (const line of readLines(progress as AsyncIterable<Uint8Array>)) {
    onProgress()
    const { error, errorDetail } = JSON.parse(line) as {
      error?: string
      errorDetail?: { message?: string }
    }
    failure = errorDetail?.message ?? error ?? failure
  }
  return failure
}

async function* readLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > MAX_LINE_BYTES) throw new Error('a line of the report has no end')
    yield* lines.filter((line) => line.trim() !== '')
  }
  if (rest.trim() !== '') yield rest
}

// In the words of Docker's own image store, of containerd's and of podman, and of the registries that they quote.
const OTHER_PLATFORM =
  /no matching manifest|does not provide the specified platform|no match for platform/
const DENIED =
  /unauthorized|denied: |access denied|forbidden|no basic auth credentials|authentication required|authorization failed|incorrect username or password/i
const MISSING =
  /manifest unknown|name unknown|manifest for .* not found|does not exist|: not found$/i

function toPullError(
  { image, reference, platform }: PullRequest,
  message: string,
  status?: number,
): OneshotError {
  const said = redact(message)
  if (OTHER_PLATFORM.test(message)) {
    const detail = `The image ${image} is not made for ${platform ?? "the engine's platform"}: ${said}`
    return new OneshotError('image_not_found', detail)
  }
  if (DENIED.test(message)) {
    const detail = `The image ${image} does not exist, or may not be pulled: check its name, or log in with "docker login ${reference.registry}" as the gateway's user. The engine says: ${said}`
    return new OneshotError('image_not_found', detail)
  }
  if (status === 404 || MISSING.test(message)) {
    const detail = `The image ${image} does not exist: check its name and tag. The engine says: ${said}`
    return new OneshotError('image_not_found', detail)
  }
  return new OneshotError('image_pull_failed', `The image ${image} could not be pulled: ${said}`)
}

/** dockerode has no parsed answer for a stream: the engine's words are within its own. */
function toEngineMessage(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.replace(/^\(HTTP code \d+\) .*? - /, '').trim()
}

/** URLs of tokens and signed downloads are secrets by their query. */
function redact(message: string): string {
  return message.replace(/(https?:\/\/[^\s"?]*)\?[^\s"]*/g, '$1').slice(0, MAX_MESSAGE_LENGTH)
}
