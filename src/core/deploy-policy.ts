import type * as z from 'zod'
import type { DefinitionDefaults, DefinitionProblem } from './definition/definition.ts'
import { flag, text } from './definition/scalar.ts'
import { isMap, listOf, mapping, refuse, toProblems } from './definition/shape.ts'
import type { DeployLimits } from './deploy-limits.ts'
import { limits, toLimits } from './deploy-limits.ts'
import type { ImagePattern } from './image-pattern.ts'
import { ANY_IMAGE, parseImagePattern } from './image-pattern.ts'
import { hostPath, isInside } from './path.ts'
import { isDangerous, toCapability } from './policy.ts'

/**
 * What the operator lets functions ask for that are deployed over HTTP. A file of the folder is the operator's own word and is not bound by it;
 * what `ONESHOT_ALLOW` allows, it allows to files alone.
 */
export interface DeployPolicy {
  readonly images: readonly ImagePattern[]
  readonly mounts: readonly MountGrant[]
  /** Patterns of names, as `matchesWildcard` takes them; so are the next four. */
  readonly volumes: readonly string[]
  readonly networks: readonly string[]
  readonly secrets: readonly string[]
  readonly configs: readonly string[]
  readonly labels: readonly string[]
  /** As `toCapability` gives them. */
  readonly capabilities: readonly string[]
  /** Variables of the gateway's environment. */
  readonly environment: readonly string[]
  /** Whether a function may say that anyone may call it. */
  readonly isPublicAllowed: boolean
  readonly limits: DeployLimits
  /** Where the files that `secrets` names are: a webhook's secret may be read from there, from nowhere else. */
  readonly secretsFolder: string
}

/**
 * A path of the engine's host, as `hostPath` gives it. One that may be written in is for itself alone, and nothing below it can be bound: who writes there can
 * put a link there that leads elsewhere. One that is read-only is for all below it too.
 */
export interface MountGrant {
  readonly path: string
  readonly readOnly: boolean
}

const imagePattern = text.transform((value, context) => {
  const hint = 'a pattern such as busybox:*, docker.io/team/tool:* or registry.example/team/*'
  return parseImagePattern(value) ?? refuse(context, `expected ${hint}`)
})

const mountGrant = text.transform((value, context): MountGrant => {
  const readOnly = value.endsWith(':ro')
  const path = readOnly ? value.slice(0, -':ro'.length) : value
  // One that is not normal may not mean what it seems to.
  const isPlain = path === '/' || (/^\/[^:*]*[^:*/]$/.test(path) && !/\/\.{0,2}(?=\/|$)/.test(path))
  return isPlain
    ? { path: hostPath(path), readOnly }
    : refuse(context, 'expected an absolute path such as /srv/data, or /srv/docs:ro to be read')
})

const capability = text.transform((value, context) => {
  const name = toCapability(value)
  if (!/^[A-Z_]+$/.test(name)) return refuse(context, 'expected a capability such as NET_RAW')
  return isDangerous(name)
    ? refuse(context, `${name} is a way out of the container: only a file's function can have it`)
    : name
})

const namePattern = (characters: RegExp, example: string) =>
  text.transform((value, context) =>
    characters.test(value) ? value : refuse(context, `expected a pattern such as ${example}`),
  )
const names = listOf(namePattern(/^[\w.*-]+$/, 'team-*'), 'a list of patterns')
const labels = listOf(namePattern(/^[\w.*/-]+$/, 'com.example.*'), 'a list of patterns')

const variable = text.transform((value, context) =>
  /^[A-Za-z_]\w*$/.test(value)
    ? value
    : refuse(context, 'expected the name of a variable, each written out'),
)

const PolicyFile = mapping({
  images: listOf(imagePattern, 'a list of patterns').exactOptional(),
  mounts: listOf(mountGrant, 'a list of paths').exactOptional(),
  volumes: names.exactOptional(),
  networks: names.exactOptional(),
  secrets: names.exactOptional(),
  configs: names.exactOptional(),
  labels: labels.exactOptional(),
  capabilities: listOf(capability, 'a list of capabilities').exactOptional(),
  environment: listOf(variable, 'a list of variables').exactOptional(),
  public: flag.exactOptional(),
  limits: limits.exactOptional(),
})

export interface PolicySurroundings {
  readonly defaults: DefinitionDefaults
  readonly secretsFolder: string
}

export type ParsedPolicy =
  | { readonly policy: DeployPolicy; readonly problems?: never }
  | { readonly policy?: never; readonly problems: readonly DefinitionProblem[] }

/** What holds where the operator has written none. */
export function defaultDeployPolicy(surroundings: PolicySurroundings): DeployPolicy {
  return toPolicy({}, surroundings)
}

/** `written` is the YAML's value. Tells every problem at once. */
export function parseDeployPolicy(
  written: unknown,
  surroundings: PolicySurroundings,
): ParsedPolicy {
  const { data, error } = PolicyFile.safeParse(written)
  const problems = [...findEmpty(written), ...(error ? toProblems(error) : [])]
  if (!data || problems.length > 0) return { problems }
  const overlapping = findOverlapping(data.mounts ?? [])
  return overlapping.length > 0
    ? { problems: overlapping }
    : { policy: toPolicy(data, surroundings) }
}

function toPolicy(
  data: z.output<typeof PolicyFile>,
  { defaults, secretsFolder }: PolicySurroundings,
): DeployPolicy {
  return {
    images: data.images ?? [ANY_IMAGE],
    mounts: data.mounts ?? [],
    volumes: data.volumes ?? [],
    networks: data.networks ?? ['none', 'bridge'],
    secrets: data.secrets ?? [],
    configs: data.configs ?? [],
    labels: data.labels ?? [],
    capabilities: data.capabilities ?? [],
    environment: data.environment ?? [],
    isPublicAllowed: data.public ?? false,
    limits: toLimits(data.limits ?? {}, defaults),
    secretsFolder,
  }
}

/** A list whose items were all taken out is not to be one that was never there. */
function findEmpty(written: unknown, path: DefinitionProblem['path'] = []): DefinitionProblem[] {
  if (!isMap(written)) return []
  return Object.entries(written).flatMap(([key, value]) => {
    if (key === 'limits') return findEmpty(value, [...path, key])
    if (value !== null || key.startsWith('x-')) return []
    return { path: [...path, key], message: 'expected a value, got nothing: write [] for none' }
  })
}

/** What may be written in could be made to lead to another place than what stands below it says. */
function findOverlapping(mounts: readonly MountGrant[]): DefinitionProblem[] {
  return mounts.flatMap(({ path }, index) => {
    const above = mounts.find((other) => {
      return !other.readOnly && other.path !== path && isInside(path, other.path)
    })
    if (!above) return []
    const message = `stands within ${above.path}, which may be written in: take one of them away`
    return { path: ['mounts', index], message }
  })
}

/** Of the gateway's environment what a deployed definition may see. */
export function toVisible(
  environment: Readonly<Record<string, string | undefined>>,
  { environment: names }: DeployPolicy,
): Record<string, string | undefined> {
  return Object.fromEntries(
    names
      .filter((name) => Object.hasOwn(environment, name))
      .map((name) => [name, environment[name]]),
  )
}
