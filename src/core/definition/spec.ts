import type { Definition, DefinitionDefaults, DefinitionProblem } from './definition.ts'
import { MAX_OUTPUT_BYTES } from './definition.ts'
import { toMounts } from './mount.ts'
import { checkLengths, checkParameters, checkPlaceholders } from './parameters.ts'
import type { Report } from './shape.ts'
import type { ReadSecrets } from './trigger.ts'
import { toTriggers } from './trigger.ts'
import type { ContainerSpec, FunctionSpec } from '../function.ts'
import { valueOf } from '../interpolate.ts'
import { MAX_VARIABLE_BYTES } from '../parameters.ts'
import type { Retries } from '../retry.ts'
import { DEFAULT_RETRIES } from '../retry.ts'
import { showBytes } from '../units.ts'

/** What a definition refers to outside itself. */
export interface DefinitionSurroundings {
  readonly defaults: DefinitionDefaults
  /** The folder of the definition's file, absolute: relative paths of binds start there. */
  readonly folder: string
  /** What `~` stands for. */
  readonly home: string
  /** The gateway's own environment: a variable named without a value comes from here. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** What the definition's env files say, the later ones winning. */
  readonly envFile: Readonly<Record<string, string>>
  /** What its webhooks' secrets are. */
  readonly secrets: ReadSecrets
}

export type ConvertedDefinition =
  | { readonly spec: FunctionSpec; readonly problems?: never }
  | { readonly spec?: never; readonly problems: readonly DefinitionProblem[] }

/** Fills in the defaults, resolves what is relative, and checks what one key alone can't tell. */
export function toFunctionSpec(
  name: string,
  definition: Definition,
  surroundings: DefinitionSurroundings,
): ConvertedDefinition {
  const problems: DefinitionProblem[] = []
  const report: Report = (path, message) => problems.push({ path, message })
  const { defaults } = surroundings
  const container = toContainerSpec(definition, surroundings, report)
  const { description, concurrency, parameters = {} } = definition
  const retries = toRetries(definition, report)
  const spec: FunctionSpec = {
    name,
    container,
    timeoutMs: definition.timeout ?? Math.min(defaults.timeoutMs, defaults.maxTimeoutMs),
    parameters,
    response: definition.response ?? 'envelope',
    body: definition.body ?? 'auto',
    input: definition.input ?? 'stdin',
    limits: {
      inputBytes: definition.limits?.input ?? defaults.inputBytes,
      outputBytes: definition.limits?.output ?? defaults.outputBytes,
      logBytes: definition.limits?.logs ?? defaults.logBytes,
    },
    warm: definition.warm ?? { min: 0, max: Infinity },
    retries,
    retriesAreAsked: definition.retries !== undefined && retries.max > 0,
    ...(definition.maxAge !== undefined && { maxAgeMs: definition.maxAge }),
    ...(definition.callback && { callback: definition.callback }),
    isPublic: definition.public ?? false,
    triggers: toTriggers(
      definition.triggers ?? [],
      { name, parameters },
      surroundings.secrets,
      report,
    ),
    ...(description !== undefined && { description }),
    ...(concurrency !== undefined && { concurrency }),
  }
  checkBounds(definition, defaults.maxTimeoutMs, report)
  checkParameters(spec, report)
  checkPlaceholders(spec, definition, report)
  if (problems.length === 0) checkLengths(spec, definition, report)
  return problems.length > 0 ? { problems } : { spec }
}

function toRetries({ retries = {} }: Definition, report: Report): Retries {
  const { minDelay, maxDelay, ...rest } = { minDelay: undefined, maxDelay: undefined, ...retries }
  const maxDelayMs = maxDelay ?? Math.max(DEFAULT_RETRIES.maxDelayMs, minDelay ?? 0)
  const minDelayMs = minDelay ?? Math.min(DEFAULT_RETRIES.minDelayMs, maxDelayMs)
  if (minDelayMs > maxDelayMs) report(['retries', 'minDelay'], 'expected at most maxDelay')
  return { ...DEFAULT_RETRIES, ...rest, minDelayMs, maxDelayMs }
}

function toContainerSpec(
  definition: Definition,
  surroundings: DefinitionSurroundings,
  report: Report,
): ContainerSpec {
  const { resources, placement } = definition.deploy ?? {}
  const capDrop = definition.cap_drop ?? ['ALL']
  return {
    image: definition.image,
    ...(definition.command && { command: definition.command }),
    ...(definition.entrypoint && { entrypoint: definition.entrypoint }),
    environment: toEnvironment(definition, surroundings, report),
    ...(definition.working_dir !== undefined && { workingDir: definition.working_dir }),
    ...(definition.user !== undefined && { user: definition.user }),
    groupAdd: definition.group_add ?? [],
    ...(definition.hostname !== undefined && { hostname: definition.hostname }),
    tty: definition.tty ?? false,
    ...(definition.init !== undefined && { init: definition.init }),
    readOnly: definition.read_only ?? false,
    privileged: definition.privileged ?? false,
    ...(definition.pid !== undefined && { pid: definition.pid }),
    ...(definition.platform !== undefined && { platform: definition.platform }),
    pullPolicy: definition.pull_policy ?? 'missing',
    ...(definition.runtime !== undefined && { runtime: definition.runtime }),
    ...toNetworks(definition, report),
    mounts: toMounts(definition, surroundings, report),
    secrets: definition.secrets ?? [],
    configs: definition.configs ?? [],
    capAdd: definition.cap_add ?? [],
    capDrop,
    securityOpt: toSecurityOpt(definition.security_opt ?? []),
    devices: definition.devices ?? [],
    ...(definition.shm_size !== undefined && { shmBytes: definition.shm_size }),
    ulimits: definition.ulimits ?? {},
    sysctls: definition.sysctls ?? {},
    labels: definition.labels ?? {},
    extraHosts: definition.extra_hosts ?? [],
    dns: definition.dns ?? [],
    dnsSearch: definition.dns_search ?? [],
    dnsOptions: definition.dns_opt ?? [],
    ...(definition.stop_signal !== undefined && { stopSignal: definition.stop_signal }),
    stopGracePeriodMs: definition.stop_grace_period ?? 10_000,
    ...toResources(definition, resources, surroundings.defaults, report),
    placement: {
      constraints: placement?.constraints ?? [],
      spreadOver: (placement?.preferences ?? []).map(({ spread }) => spread),
      ...(placement?.max_replicas_per_node !== undefined && {
        maxReplicasPerNode: placement.max_replicas_per_node,
      }),
    },
  }
}

function toEnvironment(
  definition: Definition,
  { environment, envFile }: DefinitionSurroundings,
  report: Report,
): Record<string, string> {
  if (definition.environment && definition.env) {
    report(['env'], 'is the short form of environment: give one of them')
  }
  const key = definition.environment ? 'environment' : 'env'
  const variables = new Map(Object.entries(envFile))
  for (const [name, given] of Object.entries(definition[key] ?? {})) {
    const value = given ?? valueOf(environment, name)
    if (!/^[^=\0]+$/.test(name)) report([key], 'expected each variable to have a name of its own')
    else if (value !== undefined) variables.set(name, value)
  }
  const size = new TextEncoder()
  for (const [name, value] of variables) {
    if (size.encode(value).length > MAX_VARIABLE_BYTES) {
      report([key, name], 'expected at most 100 KiB: mount a file instead')
    }
  }
  return Object.fromEntries(variables)
}

function toNetworks(definition: Definition, report: Report) {
  const { network_mode: networkMode, networks = [] } = definition
  if (networkMode !== undefined && networks.length > 0) {
    report(['networks'], 'stands in the way of network_mode: give one of them')
  }
  if (networks.length > 0) return { networks }
  return { networkMode: networkMode ?? 'bridge', networks }
}

const noNewPrivileges = /^no-new-privileges(?:[:=](true|false))?$/

function toSecurityOpt(options: readonly string[]): string[] {
  const said = options.findLast((option) => noNewPrivileges.test(option))
  const others = options.filter((option) => !noNewPrivileges.test(option))
  return said?.endsWith('false') ? others : [...others, 'no-new-privileges:true']
}

type Resources = NonNullable<Definition['deploy']>['resources']

function toResources(
  definition: Definition,
  resources: Resources,
  defaults: DefinitionDefaults,
  report: Report,
): Pick<ContainerSpec, 'limits' | 'reservations'> {
  const { limits = {}, reservations = {} } = resources ?? {}
  const pick = <T>(short: T | undefined, long: T | undefined, key: string, path: string) => {
    if (short !== undefined && long !== undefined) {
      report([key], `stands in the way of ${path}: give one of them`)
    }
    return long ?? short
  }
  const at = 'deploy.resources.limits'
  const memoryBytes =
    pick(definition.mem_limit, limits.memory, 'mem_limit', `${at}.memory`) ?? defaults.memoryBytes
  const pids = pick(definition.pids_limit, limits.pids, 'pids_limit', `${at}.pids`)
  const cpus = pick(definition.cpus, limits.cpus, 'cpus', `${at}.cpus`)
  const reserved = pick(
    definition.mem_reservation,
    reservations.memory,
    'mem_reservation',
    'deploy.resources.reservations.memory',
  )
  if (reserved !== undefined && reserved > memoryBytes) {
    const path = definition.mem_reservation
      ? ['mem_reservation']
      : ['deploy', 'resources', 'reservations', 'memory']
    report(path, `expected at most the limit of ${memoryBytes} bytes: raise ${at}.memory`)
  }
  return {
    limits: { memoryBytes, pids: pids ?? defaults.pids, ...(cpus !== undefined && { cpus }) },
    reservations: {
      devices: [...(reservations.devices ?? []), ...(definition.gpus ?? [])],
      genericResources: reservations.generic_resources ?? [],
      ...(reservations.cpus !== undefined && { cpus: reservations.cpus }),
      ...(reserved !== undefined && { memoryBytes: reserved }),
    },
  }
}

function checkBounds(
  { timeout, limits, warm }: Definition,
  maxTimeoutMs: number,
  report: Report,
): void {
  if (timeout !== undefined && (timeout === 0 || timeout > maxTimeoutMs)) {
    report(['timeout'], `expected more than 0 and at most ${maxTimeoutMs / 1000}s`)
  }
  if (warm && warm.max < warm.min) report(['warm'], 'expected max to be no less than min')
  if (limits?.output !== undefined && limits.output > MAX_OUTPUT_BYTES) {
    const hint = 'an envelope is held in memory; use response: raw for more'
    report(['limits', 'output'], `expected at most ${showBytes(MAX_OUTPUT_BYTES)}: ${hint}`)
  }
}
