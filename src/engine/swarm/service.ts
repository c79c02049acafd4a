import type { ContainerSpec, FileReference, NetworkAttachment } from '../../core/function.ts'
import type { Mount } from '../../core/mount.ts'
import type { Failure } from '../../core/outcome.ts'
import type { Task } from '../../core/task.ts'
import { APPARMOR_OFF, NO_NEW_PRIVILEGES, SECCOMP_OFF } from '../../core/swarm-policy.ts'
import { fillPlaceholders } from '../../core/template.ts'
import { toMountSettings } from '../convert.ts'
import { toLabels } from '../labels.ts'
import type { ServiceInput, SwarmFile } from './input.ts'
import { toShellCommand } from './shell.ts'

/** Where a task finds its input: a shell of its image hands it on to the command, or else the command reads it there. */
const INPUT_PATH = '/run/oneshot/input'
/** Where it finds the volume that its input is in. */
const SPOOL_PATH = '/run/oneshot/spool'

/** A service that is to be made for one task. */
export interface ServicePlan {
  readonly name: string
  readonly task: Task
  readonly gatewayId: string
  /** Pinned, if that could be. */
  readonly image: string
  /** Why its registry did not tell a digest. */
  readonly imageTrouble?: Failure | undefined
  readonly input?: ServiceInput | undefined
  /** Entry point and command, for a shell to hand them the input; undefined: the command reads the file itself. */
  readonly argv?: readonly string[] | undefined
  /** By their names in the definition. */
  readonly secrets: ReadonlyMap<string, SwarmFile>
  readonly configs: ReadonlyMap<string, SwarmFile>
  /** Those of `container.networks`, or the one that leads nowhere. */
  readonly networks: readonly NetworkAttachment[]
}

const NANOSECONDS = 1_000_000
/** Nobody answers for names that are not of the network: resolvers would ask for 10 s. */
const CLOSED_DNS_OPTIONS = ['timeout:1', 'attempts:1']
/**
 * The body of `POST /services/create`: of one replica, to be, that is never restarted. It begins with none, so that a service that has been
 * made, but not started, can be told from one that has.
 */
export function toServiceSpec(plan: ServicePlan) {
  const { name, task, gatewayId, networks } = plan
  const { container, spec, invocationId } = task
  const labels = toLabels({ gatewayId, functionName: spec.name, invocationId })
  return {
    Name: name,
    Labels: { ...container.labels, ...labels },
    TaskTemplate: {
      ContainerSpec: toContainerSpec(plan, labels),
      Resources: toResources(container),
      RestartPolicy: { Condition: 'none', MaxAttempts: 0 },
      Placement: {
        Constraints: [...container.placement.constraints],
        Preferences: container.placement.spreadOver.map((SpreadDescriptor) => ({
          Spread: { SpreadDescriptor },
        })),
        ...(container.placement.maxReplicasPerNode !== undefined && {
          MaxReplicas: container.placement.maxReplicasPerNode,
        }),
        ...(container.platform !== undefined && { Platforms: [toPlatform(container.platform)] }),
      },
      Networks: networks.map(({ name: Target, aliases }) => ({ Target, Aliases: [...aliases] })),
      LogDriver: {
        Name: 'local',
        Options: {
          'max-size': String(spec.limits.logBytes),
          'max-file': '1',
          compress: 'false',
          mode: 'blocking',
        },
      },
    },
    Mode: { Replicated: { Replicas: 0 } },
    // A virtual address would be one more for the managers to give out, and needs IPVS.
    EndpointSpec: { Mode: 'dnsrr' },
  }
}

function toContainerSpec(plan: ServicePlan, labels: Record<string, string>) {
  const { task, input, argv, image, secrets, configs } = plan
  const { container } = task
  const command = argv
    ? {
        Command: toShellCommand(plan.name, toInputPath(input)),
        Args: [...argv],
      }
    : {
        ...(container.entrypoint && { Command: [...container.entrypoint] }),
        ...(container.command && { Args: [...container.command] }),
      }
  const environment = {
    ...toTemplated(task),
    ...(task.spec.input === 'file' && { ONESHOT_INPUT_FILE: toInputPath(input) }),
  }
  const inputConfig =
    input?.kind === 'config'
      ? [
          toFile(
            { source: '', target: INPUT_PATH, uid: 0, gid: 0, mode: 0o444 },
            input.config,
            'Config',
          ),
        ]
      : []
  return {
    Image: image,
    Labels: { ...container.labels, ...labels },
    ...command,
    Env: Object.entries(environment).map(([key, value]) => `${key}=${value}`),
    ...(container.hostname !== undefined && { Hostname: container.hostname }),
    ...(container.workingDir !== undefined && { Dir: container.workingDir }),
    ...(container.user !== undefined && { User: container.user }),
    Groups: [...container.groupAdd],
    ...(container.stopSignal !== undefined && { StopSignal: container.stopSignal }),
    StopGracePeriod: container.stopGracePeriodMs * NANOSECONDS,
    TTY: container.tty,
    Privileges: toPrivileges(container.securityOpt),
    ReadOnly: container.readOnly,
    ...(container.init !== undefined && { Init: container.init }),
    HealthCheck: { Test: ['NONE'] },
    Mounts: [...container.mounts.map(toMount), ...inputMount(input)],
    Hosts: container.extraHosts.map(toHostsLine),
    DNSConfig: {
      Nameservers: [...container.dns],
      Search: [...container.dnsSearch],
      Options: [...(isClosed(container) ? CLOSED_DNS_OPTIONS : []), ...container.dnsOptions],
    },
    Secrets: container.secrets.map((it) => toFile(it, secrets.get(it.source), 'Secret')),
    Configs: [
      ...container.configs.map((it) => toFile(it, configs.get(it.source), 'Config')),
      ...inputConfig,
    ],
    Sysctls: { ...container.sysctls },
    CapabilityAdd: container.capAdd.map(toCapability),
    CapabilityDrop: container.capDrop.map(toCapability),
    Ulimits: Object.entries(container.ulimits).map(([Name, { soft, hard }]) => ({
      Name,
      Soft: soft,
      Hard: hard,
    })),
  }
}

/**
 * The environment, which swarm fills in as a template of Go's: what a definition says there, such as
 * `{{.Node.Hostname}}`, is meant so; what a call gives is not.
 */
function toTemplated({
  container: { environment },
  spec,
  ownVariables = [],
}: Task): Record<string, string> {
  const written = spec.container.environment
  const given = (name: string) => escapeTemplate(environment[name] ?? '')
  return Object.fromEntries(
    Object.keys(environment).map((name) => {
      const template = written[name]
      const isOverridden =
        template === undefined || name in spec.parameters || ownVariables.includes(name)
      return [name, isOverridden ? given(name) : fillPlaceholders(template, given)]
    }),
  )
}

/** Two braces side by side may also come of one value's end and the next one's beginning. */
function escapeTemplate(text: string): string {
  return text.replaceAll(/\{\{|^\{|\{$/g, (braces) => `{{"${braces}"}}`)
}

function isClosed({ networkMode }: ContainerSpec): boolean {
  return networkMode === 'none'
}

function toResources({ limits, reservations }: ContainerSpec) {
  return {
    Limits: {
      ...toSizes(limits),
      ...(limits.pids !== undefined && { Pids: limits.pids }),
    },
    Reservations: {
      ...toSizes(reservations),
      GenericResources: reservations.genericResources.map(({ kind: Kind, value: Value }) => ({
        DiscreteResourceSpec: { Kind, Value },
      })),
    },
  }
}

function toSizes({ cpus, memoryBytes }: { readonly cpus?: number; readonly memoryBytes?: number }) {
  return {
    ...(cpus !== undefined && { NanoCPUs: Math.round(cpus * 1e9) }),
    ...(memoryBytes !== undefined && { MemoryBytes: memoryBytes }),
  }
}

function toPlatform(platform: string) {
  const [OS = '', Architecture = ''] = platform.split('/')
  return { OS, Architecture }
}

function toMount(mount: Mount) {
  const settings = toMountSettings(mount)
  if (mount.type !== 'bind' || !mount.createHostPath) return settings
  return { ...settings, BindOptions: { ...settings.BindOptions, CreateMountpoint: true } }
}

/** All of it: services can't mount a part of a volume. */
function inputMount(input: ServiceInput | undefined) {
  if (input?.kind !== 'volume') return []
  const { volume, driver } = input
  return [
    {
      Type: 'volume',
      Source: volume,
      Target: SPOOL_PATH,
      ReadOnly: true,
      VolumeOptions: { NoCopy: true, ...(driver && { DriverConfig: driver }) },
    },
  ]
}

/** A call without an input has an empty one. */
function toInputPath(input: ServiceInput | undefined): string {
  if (!input) return '/dev/null'
  return input.kind === 'volume' ? `${SPOOL_PATH}/${input.path}` : INPUT_PATH
}

/** The options of `security_opt` that swarm knows: engines before 25 let them pass without effect. */
function toPrivileges(options: readonly string[]) {
  const isAsked = (pattern: RegExp) => options.some((option) => pattern.test(option))
  return {
    NoNewPrivileges: isAsked(NO_NEW_PRIVILEGES),
    ...(isAsked(SECCOMP_OFF) && { Seccomp: { Mode: 'unconfined' } }),
    ...(isAsked(APPARMOR_OFF) && { AppArmor: { Mode: 'disabled' } }),
  }
}

/** `host:address` as /etc/hosts has it. */
function toHostsLine(entry: string): string {
  const at = entry.indexOf(':')
  return `${entry.slice(at + 1)} ${entry.slice(0, at)}`
}

/** As the managers' answers have it, and other engines than this one's want it. */
function toCapability(name: string): string {
  return name === 'ALL' || name.startsWith('CAP_') ? name : `CAP_${name}`
}

function toFile(
  { source, target, uid, gid, mode }: FileReference,
  file: SwarmFile | undefined,
  kind: 'Secret' | 'Config',
) {
  if (!file) throw new Error(`the ${kind.toLowerCase()} "${source}" has not been looked up`)
  return {
    File: { Name: target, UID: String(uid), GID: String(gid), Mode: mode },
    [`${kind}ID`]: file.id,
    [`${kind}Name`]: file.name,
  }
}
