import type { Definition, DefinitionProblem } from './definition/definition.ts'
import type { Report } from './definition/shape.ts'
import { isMap } from './definition/shape.ts'
import { bounded, checkLimits, remedy } from './deploy-limits.ts'
import type { DeployPolicy, MountGrant } from './deploy-policy.ts'
import type { ContainerSpec, FunctionSpec } from './function.ts'
import { isPerhapsId, matchesImage } from './image-pattern.ts'
import type { Mount } from './mount.ts'
import { absolutePath, hostPath, isFileName, isInside } from './path.ts'
import type { EnginePaths } from './policy.ts'
import { findNeeds, toCapability } from './policy.ts'
import { matchesWildcard } from './wildcard.ts'

/** What nobody can allow: a function of a file can have it, if it is allowed there. */
const FILES_ALONE = "a deployed function can't have it: put it into the functions' folder"

/** As it was sent, before anything that it names is read. */
export interface WrittenDefinition {
  readonly definition: Definition
  /** The YAML's value, its variables filled in. */
  readonly value: unknown
  /** The variables that were asked for and are not set, each with where. */
  readonly unset: ReadonlyMap<string, DefinitionProblem['path']>
}

/** What a deployed definition refers to that belongs to the gateway. */
export function checkReferences(
  { definition, value, unset }: WrittenDefinition,
  policy: DeployPolicy,
): DefinitionProblem[] {
  const problems: DefinitionProblem[] = []
  const report: Report = (path, message) => problems.push({ path, message })
  const needVariable = (path: DefinitionProblem['path'], name: string) => {
    if (policy.environment.includes(name)) return
    report(path, `a variable of the gateway's: ${remedy('environment')}`)
  }
  if (definition.env_file) {
    report(['env_file'], 'the files of the gateway are not for deployed functions: use environment')
  }
  for (const [name, path] of unset) needVariable(path, name)
  const key = definition.environment ? 'environment' : 'env'
  for (const [name, given] of Object.entries(definition[key] ?? {})) {
    if (given === null) needVariable([key, name], name)
  }
  for (const [index, { type, source = '' }] of (definition.volumes ?? []).entries()) {
    if (type === 'bind' && !source.startsWith('/')) {
      report(['volumes', index], 'expected an absolute path: a deployed function has no folder')
    }
  }
  for (const { path, env, file } of findWebhookSecrets(value)) {
    if (env !== undefined) needVariable([...path, 'env'], env)
    if (file !== undefined && !isSecretFile(file, policy)) {
      const where = `a secret's file, ${policy.secretsFolder}/NAME`
      report([...path, 'file'], `expected ${where}: ${remedy('secrets')}`)
    }
  }
  return problems
}

function findWebhookSecrets(value: unknown) {
  const triggers = isMap(value) ? value['triggers'] : undefined
  return toList(triggers).flatMap((trigger, index) =>
    toList(isMap(trigger) ? trigger['secrets'] : undefined).flatMap((secret, at) => {
      if (!isMap(secret)) return []
      const { env, file } = secret
      const path = ['triggers', index, 'secrets', at]
      return {
        path,
        env: env === undefined ? undefined : toText(env),
        file: file === undefined ? undefined : toText(file),
      }
    }),
  )
}

/** Of what is no text nothing is allowed. */
function toText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** One thing stands for a list of one. */
function toList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value]
}

function isSecretFile(file: string, { secretsFolder, secrets }: DeployPolicy): boolean {
  const name = file.slice(file.lastIndexOf('/') + 1)
  const isThere = file === `${secretsFolder}/${name}` && absolutePath(file) === file
  return isThere && isFileName(name) && matchesAny(name, secrets)
}

/**
 * What a deployed definition asks for beyond what the operator lets it have, and else its spec, in which what it leaves open is what it may have. What
 * gives a function the host is beyond any policy.
 */
export function checkDeployed(
  converted: FunctionSpec,
  definition: Definition,
  policy: DeployPolicy,
  engine: EnginePaths,
): { readonly spec: FunctionSpec; readonly problems: readonly DefinitionProblem[] } {
  const problems: DefinitionProblem[] = []
  const report: Report = (path, message) => problems.push({ path, message })
  const limited = bounded(converted, definition, policy.limits)
  const mounts = limited.container.mounts.map((mount) =>
    // Nothing is made on the host for it.
    mount.type === 'bind' ? { ...mount, createHostPath: false } : mount,
  )
  const spec = { ...limited, container: { ...limited.container, mounts } }
  const { container } = spec
  for (const { path, what } of findNeeds(spec, engine)) report(path, `${what}: ${FILES_ALONE}`)
  checkImage(container.image, policy, report)
  for (const [index, mount] of mounts.entries()) {
    const isOfVolumes = index < (definition.volumes?.length ?? 0)
    checkMount(mount, policy, (message) => {
      report(isOfVolumes ? ['volumes', index] : ['tmpfs'], message)
    })
  }
  checkNetworks(container, policy, report)
  checkCapabilities(container, policy, report)
  for (const key of ['secrets', 'configs'] as const) {
    for (const [index, { source }] of container[key].entries()) {
      if (!matchesAny(source, policy[key])) report([key, index], upTo(key))
    }
  }
  checkLabels(container.labels, policy, (name, message) => report(['labels', name], message))
  checkPrivileges(container, report)
  if (!policy.isPublicAllowed) checkPublic(spec, report)
  checkLimits(spec, definition, policy.limits, report)
  return { spec, problems }
}

/** A webhook without a secret is anyone's to call. */
function checkPublic({ isPublic, triggers }: FunctionSpec, report: Report): void {
  if (isPublic) report(['public'], upTo('public'))
  for (const [index, trigger] of triggers.entries()) {
    const isOpen = trigger.type === 'webhook' && trigger.secrets.length === 0
    if (isOpen) report(['triggers', index], `without a secret it ${upTo('public')}`)
  }
}

function upTo(key: string): string {
  return `is not for deployed functions: ${remedy(key)}`
}

function matchesAny(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => matchesWildcard(pattern, name))
}

function checkImage(image: string, { images }: DeployPolicy, report: Report): void {
  if (matchesImage(image, images)) return
  const hint = 'add a tag, such as :latest, by which it can be told from the beginning of an id'
  report(['image'], isPerhapsId(image) ? hint : upTo('images'))
}

function checkMount(
  mount: Mount,
  { mounts, volumes, labels }: DeployPolicy,
  report: (message: string) => void,
): void {
  if (mount.type === 'bind') {
    const { propagation = 'rprivate', selinux } = mount
    const reason = checkBind(mount.source, mount.readOnly, mounts)
    if (reason !== undefined) report(reason)
    if (!/^r?private$/.test(propagation)) report(`${propagation} shares mounts: ${FILES_ALONE}`)
    if (selinux !== undefined) report(`${selinux} labels the host's files anew: ${FILES_ALONE}`)
  } else if (mount.type === 'volume') {
    const { source, driver = 'local', driverOptions } = mount
    if (source !== undefined && !matchesAny(source, volumes)) report(upTo('volumes'))
    if (driver !== 'local' || Object.keys(driverOptions).length > 0) {
      report(`a volume with a driver or options of its own can be anything: ${FILES_ALONE}`)
    }
    checkLabels(mount.labels, { labels }, (_, message) => report(message))
  }
}

/** Why `source` may not be bound. */
function checkBind(
  source: string,
  readOnly: boolean,
  grants: readonly MountGrant[],
): string | undefined {
  const path = hostPath(source)
  const writable = grants.filter((grant) => !grant.readOnly)
  if (writable.some((grant) => grant.path === path)) return undefined
  const above = writable.find((grant) => isInside(path, grant.path))
  if (above) {
    return `bind ${above.path} as a whole: what stands in a folder that can be written in may be a link to elsewhere`
  }
  if (!grants.some((grant) => isInside(path, grant.path))) return upTo('mounts')
  return readOnly ? undefined : `expected it to be read-only (:ro): ${remedy('mounts')}`
}

/** In a network of its operator's a function must be no one else than it is. */
function checkNetworks(container: ContainerSpec, policy: DeployPolicy, report: Report): void {
  const { networkMode, networks, hostname } = container
  const mode = networkMode === 'default' ? 'bridge' : networkMode
  if (mode !== undefined && mode !== 'none' && !matchesNetwork(mode, policy)) {
    report(['network_mode'], `${mode} ${upTo('networks')}`)
  }
  for (const { name, aliases, ipv4Address, ipv6Address } of networks) {
    if (name !== 'none' && !matchesNetwork(name, policy)) {
      report(['networks', name], upTo('networks'))
    }
    if (aliases.length > 0 || (ipv4Address ?? ipv6Address) !== undefined) {
      const what = "a name or address of its own there could take another's place"
      report(['networks', name], `${what}: ${FILES_ALONE}`)
    }
  }
  const isShared = networks.length > 0 || (mode !== 'none' && mode !== 'bridge')
  if (hostname !== undefined && isShared) {
    report(['hostname'], `could be another's in that network: ${FILES_ALONE}`)
  }
}

/** A name that could be the beginning of an id has to be written out in the policy. */
function matchesNetwork(name: string, { networks }: DeployPolicy): boolean {
  return /^[0-9a-f]+$/.test(name) ? networks.includes(name) : matchesAny(name, networks)
}

/** What engines leave a container that drops nothing. */
const USUAL_CAPABILITIES = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]

function checkCapabilities(
  { capAdd, capDrop }: ContainerSpec,
  { capabilities }: DeployPolicy,
  report: Report,
): void {
  for (const [index, name] of capAdd.entries()) {
    if (!capabilities.includes(toCapability(name))) report(['cap_add', index], upTo('capabilities'))
  }
  const dropped = new Set(capDrop.map(toCapability))
  if (dropped.has('ALL')) return
  const kept = USUAL_CAPABILITIES.filter(
    (name) => !dropped.has(name) && !capabilities.includes(name),
  )
  if (kept.length > 0) {
    report(['cap_drop'], `leaves ${kept.join(', ')}: drop ALL, or ${remedy('capabilities')}`)
  }
}

/** By which the gateway finds its own. */
const OWN_LABEL = /^oneshot(?:\.|$)/i

function checkLabels(
  labels: Readonly<Record<string, string>>,
  { labels: allowed }: Pick<DeployPolicy, 'labels'>,
  report: (name: string, message: string) => void,
): void {
  for (const name of Object.keys(labels)) {
    if (OWN_LABEL.test(name)) report(name, "oneshot. begins the gateway's own labels")
    else if (!matchesAny(name, allowed)) report(name, upTo('labels'))
  }
}

/** Limits that bound a process itself. Others give it a say over the host's time and memory. */
const HARMLESS_LIMITS = new Set(['as', 'core', 'cpu', 'data', 'fsize', 'nofile', 'nproc', 'stack'])

function checkPrivileges(container: ContainerSpec, report: Report): void {
  const { securityOpt, devices, reservations, runtime, sysctls, ulimits } = container
  const refuse = (path: DefinitionProblem['path'], what: string) =>
    report(path, `${what}: ${FILES_ALONE}`)
  const isHardened = securityOpt.includes('no-new-privileges:true')
  const isOwn = securityOpt.some(
    (option) => !/^(?:no-new-privileges:true|seccomp[:=]builtin)$/.test(option),
  )
  if (!isHardened || isOwn) refuse(['security_opt'], "lifts the engine's protection, or may")
  if (devices.length > 0) refuse(['devices'], "the host's devices")
  if (reservations.devices.length > 0) {
    refuse(['deploy', 'resources', 'reservations', 'devices'], "the host's devices (gpus too)")
  }
  if (reservations.genericResources.length > 0) {
    refuse(['deploy', 'resources', 'reservations', 'generic_resources'], "the host's resources")
  }
  if (runtime !== undefined) refuse(['runtime'], 'a runtime decides how a container is held')
  if (Object.keys(sysctls).length > 0) refuse(['sysctls'], 'settings of the kernel')
  for (const name of Object.keys(ulimits)) {
    if (!HARMLESS_LIMITS.has(name)) refuse(['ulimits', name], "bounds more than the function's own")
  }
}
