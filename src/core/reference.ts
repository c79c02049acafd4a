import { OneshotError } from './error.ts'

/** An image's name, taken apart. */
export interface Reference {
  /** `host[:port]`; `docker.io` is Docker Hub. */
  readonly registry: string
  /** With Docker Hub's `library/` where the name leaves it out. */
  readonly repository: string
  readonly tag?: string
  /** `algorithm:hex`; it wins over the tag. */
  readonly digest?: string
}

const DOCKER_HUB = 'docker.io'
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?'
const registryPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`)
const component = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*'
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`)
const tagPattern = /^\w[\w.-]{0,127}$/
const digestPattern =
  /^(?:sha256:[0-9a-f]{64}|(?!sha256:)[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,})$/
const imageIdPattern = /^(?:sha256:)?[0-9a-f]{64}$/

/**
 * Reads a name as Docker does (github.com/distribution/reference): the first part is a registry only if it has a dot, a
 * port or an upper-case letter, or is `localhost`. Throws `image_not_found` for what no image can be called.
 */
export function parseReference(image: string): Reference {
  const [named = '', ...digests] = image.split('@')
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1)
  const name = colon < 0 ? named : named.slice(0, colon)
  const tag = colon < 0 ? undefined : named.slice(colon + 1)
  const digest = digests.length === 0 ? undefined : digests.join('@')
  const { registry, repository } = splitRegistry(name)

  const valid =
    registryPattern.test(registry) &&
    repositoryPattern.test(repository) &&
    registry.length + repository.length < 255 &&
    !isImageId(image) &&
    (tag === undefined || tagPattern.test(tag)) &&
    (digest === undefined || digestPattern.test(digest))
  if (!valid) {
    throw new OneshotError(
      'image_not_found',
      `"${image}" is not the name of an image: write it as [registry/]name[:tag][@digest], the name in lower case.`,
    )
  }
  return {
    registry,
    repository,
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest }),
  }
}

/** An image's own id names it on one engine only: there is nothing to pull by it. */
export function isImageId(image: string): boolean {
  return imageIdPattern.test(image)
}

function splitRegistry(name: string): Pick<Reference, 'registry' | 'repository'> {
  const slash = name.indexOf('/')
  const first = name.slice(0, Math.max(slash, 0))
  if (!/[.:A-Z]/.test(first) && first !== 'localhost') return onDockerHub(name)
  const rest = name.slice(slash + 1)
  return first === DOCKER_HUB || first === 'index.docker.io'
    ? onDockerHub(rest)
    : { registry: first, repository: rest }
}

function onDockerHub(name: string): Pick<Reference, 'registry' | 'repository'> {
  return { registry: DOCKER_HUB, repository: name.includes('/') ? name : `library/${name}` }
}
