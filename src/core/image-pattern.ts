import { OneshotError } from './error.ts'
import { parseReference } from './reference.ts'
import { matchesWildcard } from './wildcard.ts'

/** Which images, by their names in full: `docker.io`, `library/busybox:*`. */
export interface ImagePattern {
  /** A `*` in it leads to no other host: it stands for no `/`. */
  readonly registry: string
  /** Repository and `:tag`, or `@digest`, which wins over a tag. A `*` stands for any of their characters. */
  readonly rest: string
}

/** Every image, however it is named. */
export const ANY_IMAGE: ImagePattern = { registry: '*', rest: '*' }

const DOCKER_HUB = 'docker.io'

/**
 * Reads a pattern as names are read (`parseReference`): `busybox` is `docker.io/library/busybox:latest`, `busybox:*` any tag or digest of it,
 * `registry.example/team/*` all below it, `*` everything. Undefined for what can match nothing, or could be meant in two ways.
 */
export function parseImagePattern(text: string): ImagePattern | undefined {
  if (text === '*') return ANY_IMAGE
  if (!/^[\w.*:@/+-]+$/.test(text) || /^\/|\/\/|\/$/.test(text)) return undefined
  const slash = text.indexOf('/')
  const first = text.slice(0, Math.max(slash, 0))
  const isRegistry = /[.:A-Z]/.test(first) || first === 'localhost'
  // A registry, or one of Docker Hub's users?
  if (!isRegistry && first.includes('*')) return undefined
  const rest = isRegistry ? text.slice(slash + 1) : text
  const isOnHub = !isRegistry || first === DOCKER_HUB || first === 'index.docker.io'
  if (!isOnHub) return { registry: first, rest: withTag(rest) }
  const isOfficial = !rest.includes('/') && !(isRegistry && rest === '*')
  return { registry: DOCKER_HUB, rest: withTag(isOfficial ? `library/${rest}` : rest) }
}

function withTag(rest: string): string {
  const isWhole = rest.endsWith('*') || /[:@]/.test(rest.slice(rest.lastIndexOf('/') + 1))
  return isWhole ? rest : `${rest}:latest`
}

/** What an engine takes for the beginning of an image's id if no image has that name. */
const IMAGE_ID = /^(?:sha256:)?[0-9a-f]+$/

/** Whether an engine that is told `image` could take no other than these patterns allow. */
export function matchesImage(image: string, patterns: readonly ImagePattern[]): boolean {
  if (patterns.includes(ANY_IMAGE)) return true
  if (isPerhapsId(image)) return false
  const named = readName(image)
  return (
    named !== undefined &&
    patterns.some(
      ({ registry, rest }) =>
        matchesWildcard(registry, named.registry) && matchesWildcard(rest, named.rest),
    )
  )
}

/** Whether an engine may take `image` for the beginning of an id: a tag tells it from one. */
export function isPerhapsId(image: string): boolean {
  return IMAGE_ID.test(image)
}

function readName(image: string): ImagePattern | undefined {
  try {
    const { registry, repository, tag = 'latest', digest } = parseReference(image)
    return { registry, rest: repository + (digest === undefined ? `:${tag}` : `@${digest}`) }
  } catch (error) {
    if (error instanceof OneshotError) return undefined
    throw error
  }
}
