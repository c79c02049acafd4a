import type * as z from 'zod'
import { callback, retries } from './async.ts'
import { envFiles, fileReferences } from './file.ts'
import {
  deviceRequests,
  devices,
  extraHosts,
  gpus,
  networkMode,
  networks,
  ulimits,
} from './network.ts'
import { pullPolicies, refusedDeployKeys, refusedKeys } from './refused.ts'
import {
  bytes,
  choice,
  cpus,
  duration,
  flag,
  integer,
  pairs,
  text,
  texts,
  variables,
  words,
} from './scalar.ts'
import type { DefinitionProblem } from './shape.ts'
import { listOf, mapping, oneOf, recordOf, refuse, scalar, toProblems } from './shape.ts'
import { triggers } from './trigger.ts'
import { tmpfs, volumes } from './volume.ts'
import { ParameterSchema } from '../parameter-schema.ts'
import { showBytes } from '../units.ts'

export type { DefinitionProblem } from './shape.ts'

/** What holds where a definition says nothing, and the most that it may say. */
export interface DefinitionDefaults {
  readonly timeoutMs: number
  readonly maxTimeoutMs: number
  readonly inputBytes: number
  readonly outputBytes: number
  readonly logBytes: number
  readonly memoryBytes: number
  readonly pids: number
}

const MIB = 1024 * 1024

/** An envelope is held in memory. */
export const MAX_OUTPUT_BYTES = 64 * MIB

/** What engines ask for. */
export const MIN_MEMORY_BYTES = 6 * MIB
export const MIN_LOG_BYTES = 4096

const memory = bytes(MIN_MEMORY_BYTES, `, ${showBytes(MIN_MEMORY_BYTES)} at the least`)
const pids = integer(1)

/** Loose enough for what engines take, strict enough to tell a slip from an image that is not there. */
const reference =
  /^(?:[a-zA-Z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:(?:__?|-+|[./])[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@[\w+.-]+:[0-9a-f]{32,})?$|^sha256:[0-9a-f]{64}$/

const image = text.transform((value, context) =>
  reference.test(value)
    ? value
    : refuse(
        context,
        `expected an image such as busybox or registry.example/team/tool:1.2, got ${JSON.stringify(value)}`,
      ),
)

const pullPolicy = text.transform((value, context) => {
  if (value === 'always' || value === 'missing' || value === 'never') return value
  if (value === 'if_not_present') return 'missing'
  const kind = value.startsWith('every_') ? 'daily' : value
  return Object.hasOwn(pullPolicies, kind)
    ? refuse(context, `${value} is not taken: ${pullPolicies[kind]}`)
    : refuse(context, 'expected always, missing or never')
})

const limits = mapping({
  cpus: cpus.exactOptional(),
  memory: memory.exactOptional(),
  pids: pids.exactOptional(),
})

const genericResource = mapping({
  discrete_resource_spec: mapping({ kind: text, value: integer(1) }),
}).transform(({ discrete_resource_spec: { kind, value } }) => ({ kind, value }))

const reservations = mapping({
  cpus: cpus.exactOptional(),
  memory: memory.exactOptional(),
  devices: deviceRequests.exactOptional(),
  generic_resources: listOf(genericResource, 'a list of maps').exactOptional(),
})

const placement = mapping({
  constraints: listOf(text, 'a list of texts').exactOptional(),
  preferences: listOf(mapping({ spread: text }), 'a list of maps').exactOptional(),
  max_replicas_per_node: integer(1).exactOptional(),
})

const deploy = mapping(
  {
    resources: mapping({
      limits: limits.exactOptional(),
      reservations: reservations.exactOptional(),
    }).exactOptional(),
    placement: placement.exactOptional(),
  },
  refusedDeployKeys,
)

const ownLimits = mapping({
  input: bytes().exactOptional(),
  output: bytes().exactOptional(),
  logs: bytes(MIN_LOG_BYTES, `, ${showBytes(MIN_LOG_BYTES)} at the least`).exactOptional(),
})

/** As many as the budget has room for. */
const AUTO = { min: 0, max: Infinity }
const armed = integer(0)
const warm = oneOf('auto, a number of containers, or a map of min and max', {
  text: scalar('auto or a whole number of at least 0', (value) => {
    if (value === 'auto') return AUTO
    const { data } = armed.safeParse(value)
    return data === undefined ? undefined : { min: data, max: data }
  }),
  map: mapping({ min: armed.exactOptional(), max: armed.exactOptional() }).transform(
    ({ min = AUTO.min, max = AUTO.max }) => ({ min, max }),
  ),
})

const ownKeys = {
  description: text.exactOptional(),
  timeout: duration.exactOptional(),
  concurrency: integer(1).exactOptional(),
  parameters: recordOf(ParameterSchema).exactOptional(),
  response: choice('envelope', 'raw').exactOptional(),
  body: choice('auto', 'stdin').exactOptional(),
  input: choice('stdin', 'file').exactOptional(),
  limits: ownLimits.exactOptional(),
  warm: warm.exactOptional(),
  retries: retries.exactOptional(),
  maxAge: duration.exactOptional(),
  callback: callback.exactOptional(),
  public: flag.exactOptional(),
  triggers: triggers.exactOptional(),
}

const composeKeys = {
  image,
  command: words.exactOptional(),
  entrypoint: words.exactOptional(),
  environment: variables.exactOptional(),
  env: variables.exactOptional(),
  env_file: envFiles.exactOptional(),
  working_dir: text.exactOptional(),
  user: text.exactOptional(),
  group_add: listOf(text, 'a list of texts').exactOptional(),
  hostname: text.exactOptional(),
  tty: flag.exactOptional(),
  init: flag.exactOptional(),
  read_only: flag.exactOptional(),
  privileged: flag.exactOptional(),
  pid: oneOf('host or container:NAME', {
    text: text.transform((value, context) =>
      /^host$|^container:[\w.-]+$/.test(value)
        ? value
        : refuse(context, `expected host or container:NAME, got ${JSON.stringify(value)}`),
    ),
  }).exactOptional(),
  platform: text.exactOptional(),
  pull_policy: pullPolicy.exactOptional(),
  runtime: text.exactOptional(),
  network_mode: networkMode.exactOptional(),
  networks: networks.exactOptional(),
  volumes: volumes.exactOptional(),
  tmpfs: tmpfs.exactOptional(),
  secrets: fileReferences('/run/secrets').exactOptional(),
  configs: fileReferences('/').exactOptional(),
  cap_add: listOf(text, 'a list of texts').exactOptional(),
  cap_drop: listOf(text, 'a list of texts').exactOptional(),
  security_opt: listOf(text, 'a list of texts').exactOptional(),
  devices: devices.exactOptional(),
  shm_size: bytes(1).exactOptional(),
  ulimits: ulimits.exactOptional(),
  sysctls: pairs.exactOptional(),
  labels: pairs.exactOptional(),
  extra_hosts: extraHosts.exactOptional(),
  dns: texts.exactOptional(),
  dns_search: texts.exactOptional(),
  dns_opt: listOf(text, 'a list of texts').exactOptional(),
  stop_signal: text.exactOptional(),
  stop_grace_period: duration.exactOptional(),
  gpus: gpus.exactOptional(),
  deploy: deploy.exactOptional(),
  mem_limit: memory.exactOptional(),
  mem_reservation: memory.exactOptional(),
  cpus: cpus.exactOptional(),
  pids_limit: pids.exactOptional(),
}

/** A definition as written: Compose's keys by Compose's names, and our own. Units are read, defaults are not in yet. */
export const Definition = mapping({ ...composeKeys, ...ownKeys }, refusedKeys)
export type Definition = z.output<typeof Definition>

export type ParsedDefinition =
  | { readonly definition: Definition; readonly problems?: never }
  | { readonly definition?: never; readonly problems: readonly DefinitionProblem[] }

/** `written` is the YAML's value with its variables already filled in. Tells every problem at once. */
export function parseDefinition(written: unknown): ParsedDefinition {
  const result = Definition.safeParse(written)
  return result.success ? { definition: result.data } : { problems: toProblems(result.error) }
}
