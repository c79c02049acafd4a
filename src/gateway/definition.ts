import { closest, distance } from 'fastest-levenshtein'
import { basename, dirname, resolve } from 'node:path'
import type {
  Definition,
  DefinitionDefaults,
  DefinitionProblem,
} from '../core/definition/definition.ts'
import { parseDefinition } from '../core/definition/definition.ts'
import { toFunctionSpec } from '../core/definition/spec.ts'
import { checkDeployed, checkReferences } from '../core/deploy-check.ts'
import type { DeployPolicy } from '../core/deploy-policy.ts'
import { parseEnvFile } from '../core/env-file.ts'
import type { FunctionSpec } from '../core/function.ts'
import { absolutePath } from '../core/path.ts'
import type { Allowance } from '../core/policy.ts'
import { checkPolicy } from '../core/policy.ts'
import { checkSwarm } from '../core/swarm-policy.ts'
import { placeholdersIn } from '../core/template.ts'
import type { DefinitionDocument, FileProblem } from './definition-document.ts'
import { firstOf, readDocument } from './definition-document.ts'
import { readTriggerSecrets } from './definition-secret.ts'
import { readTextFile } from './text-file.ts'

export type { FileProblem } from './definition-document.ts'

export interface DefinitionSettings {
  readonly defaults: DefinitionDefaults
  /** What the operator lets definitions ask for beyond what is safe. */
  readonly allowed: ReadonlySet<Allowance>
  /** What runs calls: not all of what one of them can do, the other can. */
  readonly backend: 'container' | 'swarm'
  /** Where the engine's socket is on its host. */
  readonly dockerSocketPaths: readonly string[]
  /** Where the engine keeps what is its own, on its host. */
  readonly engineFolders: readonly string[]
  /** What `~` stands for. */
  readonly home: string
  /** Fills in `${VAR}`. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The definition is no file of the operator's: it has to keep to this. */
  readonly deployPolicy?: DeployPolicy
}

export type ReadDefinition = {
  /** The other files that it names and that were read, absolute: a change of them changes the function. */
  readonly readFiles: readonly string[]
} & (
  | {
      readonly spec: FunctionSpec
      /** As written, before variables are filled in, with the values of secrets masked. */
      readonly source: Readonly<Record<string, unknown>>
      readonly warnings: readonly string[]
      readonly problems?: never
    }
  | { readonly spec?: never; readonly problems: readonly FileProblem[] }
)

/** Reads the definition in `text`, the content of `file`, and its env files. What is wrong is told, all at once. */
export async function readDefinition(
  file: string,
  text: string,
  settings: DefinitionSettings,
): Promise<ReadDefinition> {
  const document = readDocument(basename(file), text, settings.environment)
  const { source, value, warnings, locate } = document
  const refused = (problems: readonly DefinitionProblem[], readFiles: readonly string[] = []) => ({
    problems: firstOf(problems).map((problem) => locate(hinted(problem))),
    readFiles,
  })
  if (document.problems.length > 0) return { problems: document.problems, readFiles: [] }
  const misplaced = findMisplaced(value)
  if (misplaced.length > 0) return refused(misplaced)
  const { definition, problems } = parseDefinition(value)
  if (!definition) return refused(explained(problems))
  const { deployPolicy: policy } = settings
  const foreign = policy
    ? checkReferences({ definition, value, unset: document.unset }, policy)
    : []
  if (foreign.length > 0) return refused(foreign)

  const folder = dirname(resolve(file))
  const env = await readEnvFiles(definition, folder, settings.environment)
  if (env.problems.length > 0) return refused(env.problems, env.files)
  const { defaults, home, environment } = settings
  const read = await readTriggerSecrets(definition, file, environment)
  const files = [...env.files, ...read.files]
  if (read.problems.length > 0) return refused(read.problems, files)
  const { secrets } = read
  const surroundings = { defaults, folder, home, environment, envFile: env.variables, secrets }
  const converted = toFunctionSpec(functionName(file), definition, surroundings)
  if (!converted.spec) return refused(converted.problems, files)
  const engine = { sockets: settings.dockerSocketPaths, folders: settings.engineFolders }
  const { spec, problems: breaches } = policy
    ? checkDeployed(converted.spec, definition, policy, engine)
    : { spec: converted.spec, problems: checkPolicy(converted.spec, settings.allowed, engine) }
  if (breaches.length > 0) return refused(breaches, files)
  const isSwarm = settings.backend === 'swarm'
  const impossible = isSwarm ? checkSwarm(spec) : []
  if (impossible.length > 0) return refused(impossible, files)
  return {
    spec,
    source,
    warnings: [
      ...warnings,
      ...env.warnings,
      ...read.warnings,
      ...(isSwarm ? [] : unusedKeys(spec)),
    ],
    readFiles: files,
  }
}

/** What is said to a scheduler, where there may be none. */
function unusedKeys({ container: { placement, reservations } }: FunctionSpec): string[] {
  const { constraints, spreadOver, maxReplicasPerNode } = placement
  const isPlaced = constraints.length + spreadOver.length > 0 || maxReplicasPerNode !== undefined
  const keys = [
    isPlaced && 'deploy.placement',
    reservations.cpus !== undefined && 'deploy.resources.reservations.cpus',
    reservations.genericResources.length > 0 && 'deploy.resources.reservations.generic_resources',
  ].filter((key) => key !== false)
  return keys.map((key) => `${key}: only a swarm schedules by it; a single engine does not.`)
}

/** The name that a file gives its function. */
export function functionName(file: string): string {
  return basename(file).replace(/\.ya?ml$/, '')
}

/** Such as `hello.yml:3:5: deploy.resources.limits.memory: expected …` */
export function showProblem({ file, line, column, key, message }: FileProblem): string {
  return `${file}:${line}:${column}: ${key && `${key}: `}${message}`
}

const templated = new Set(['command', 'entrypoint', 'environment', 'env'])

/** A call's parameters decide over its command and environment, over nothing else. */
function findMisplaced(definition: DefinitionDocument['value']): DefinitionProblem[] {
  const problems: DefinitionProblem[] = []
  const look = (value: unknown, path: DefinitionProblem['path']) => {
    if (typeof value === 'string') {
      const message = `\${{ ${placeholdersIn(value)[0]} }} can only stand in command, entrypoint and environment`
      if (placeholdersIn(value).length > 0) problems.push({ path, message })
    } else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) look(item, [...path, index])
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value)) {
        if (path.length > 0 || !(templated.has(key) || key.startsWith('x-')))
          look(item, [...path, key])
      }
    }
  }
  look(definition, [])
  return problems
}

/** In a whole Compose file everything is misplaced: one reason is enough. */
function explained(problems: readonly DefinitionProblem[]): readonly DefinitionProblem[] {
  const compose = problems.filter(({ path }) => path.length === 1 && path[0] === 'services')
  return compose.length > 0 ? compose : problems
}

/** With what may have been meant by an unknown key. */
export function hinted({ path, message, known }: DefinitionProblem): DefinitionProblem {
  const key = String(path.at(-1))
  // A longer one is no slip of the pen, and takes its time to compare.
  const meant = known && key.length <= 100 ? closest(key, [...known]) : undefined
  if (!meant || !known) return { path, message }
  const isNear = distance(key, meant) <= Math.max(1, Math.floor(key.length / 2.5))
  const hint = isNear ? `did you mean ${meant}?` : `expected one of ${known.join(', ')}`
  return { path, message: `${message}: ${hint}` }
}

async function readEnvFiles(
  { env_file: entries = [] }: Definition,
  folder: string,
  environment: DefinitionSettings['environment'],
) {
  const files: string[] = []
  const problems: DefinitionProblem[] = []
  const warnings: string[] = []
  const variables: Record<string, string> = {}
  for (const { path, required, format } of entries) {
    const file = absolutePath(path, folder)
    files.push(file)
    const found = await readTextFile(file)
    if ('text' in found) {
      const read = parseEnvFile(found.text, { ...environment, ...variables }, format)
      if ('variables' in read) {
        Object.assign(variables, read.variables)
        warnings.push(...read.unset.slice(0, MAX_WARNINGS).map((name) => unsetIn(path, name)))
      } else problems.push({ path: ['env_file'], message: `${path}:${read.line}: ${read.problem}` })
    } else if (!found.isMissing || required) {
      const hint = found.isMissing ? ': create it, or set required: false' : ''
      problems.push({ path: ['env_file'], message: `${path} ${found.reason}${hint}` })
    }
  }
  return { files, problems, variables, warnings: warnings.slice(0, MAX_WARNINGS) }
}

/** The most that are told of a definition's env files, and the longest name that is told in full. */
const MAX_WARNINGS = 20
const MAX_NAME = 100

function unsetIn(file: string, name: string): string {
  const cut = name.length <= MAX_NAME ? name : `${name.slice(0, MAX_NAME)}…`
  return `${file}: the variable ${cut} is not set: it became empty.`
}
