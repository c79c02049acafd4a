import type { CallbackDefault } from './callback.ts'
import type { Mount } from './mount.ts'
import type { ParameterSchema } from './parameters.ts'
import type { Retries } from './retry.ts'
import type { Trigger } from './trigger.ts'

/** A named definition, normalised: units are bytes and milliseconds, short forms are long, defaults are in. */
export interface FunctionSpec {
  readonly name: string
  readonly description?: string
  readonly container: ContainerSpec
  /** Bounds queue, pull and run together. */
  readonly timeoutMs: number
  /** The most invocations of this function that run at once; the rest wait. Absent: only the gateway's own bound. */
  readonly concurrency?: number
  readonly parameters: Readonly<Record<string, ParameterSchema>>
  readonly response: 'envelope' | 'raw'
  /** Where a JSON body goes: `auto` makes it the parameters of a function that declares some; `stdin` never does. */
  readonly body: 'auto' | 'stdin'
  /** How the command reads its input: on stdin, or from the file that `ONESHOT_INPUT_FILE` names. */
  readonly input: 'stdin' | 'file'
  readonly limits: FunctionLimits
  readonly warm: Warm
  readonly retries: Retries
  /** Its retries are its own choice: a caller that waits on the connection gets them too. */
  readonly retriesAreAsked: boolean
  /** How long a call that nobody waits for may wait in the queue, in milliseconds; absent: for ever. */
  readonly maxAgeMs?: number
  readonly callback?: CallbackDefault
  /** Anyone may call it, whoever he is. */
  readonly isPublic: boolean
  /** What calls it by itself. */
  readonly triggers: readonly Trigger[]
}

/**
 * How many containers are kept armed: at least `min`, and up to `max` by demand. A `max` of 0: none ever, and calls run
 * without a gate; Infinity: as many as the budget has room for.
 */
export interface Warm {
  readonly min: number
  readonly max: number
}

export interface FunctionLimits {
  /** The longest request body. */
  readonly inputBytes: number
  /** How much of each of stdout and stderr an envelope holds. */
  readonly outputBytes: number
  /** How much of the output the engine keeps in its own log of the container. */
  readonly logBytes: number
}

/** What Compose says of a container. Keys keep Compose's meaning; absent ones leave the choice to the image or the engine. */
export interface ContainerSpec {
  readonly image: string
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly workingDir?: string
  readonly user?: string
  readonly groupAdd: readonly string[]
  readonly hostname?: string
  readonly tty: boolean
  readonly init?: boolean
  readonly readOnly: boolean
  readonly privileged: boolean
  /** `host` or a container's namespace, as Compose has it. */
  readonly pid?: string
  /** `os[/arch[/variant]]` */
  readonly platform?: string
  readonly pullPolicy: 'always' | 'missing' | 'never'
  readonly runtime?: string
  /** `bridge`, `none`, `host`, … Never set together with `networks`. */
  readonly networkMode?: string
  readonly networks: readonly NetworkAttachment[]
  readonly mounts: readonly Mount[]
  readonly secrets: readonly FileReference[]
  readonly configs: readonly FileReference[]
  readonly capAdd: readonly string[]
  readonly capDrop: readonly string[]
  readonly securityOpt: readonly string[]
  readonly devices: readonly DeviceMapping[]
  readonly shmBytes?: number
  readonly ulimits: Readonly<Record<string, Ulimit>>
  readonly sysctls: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  /** `host:address` */
  readonly extraHosts: readonly string[]
  readonly dns: readonly string[]
  readonly dnsSearch: readonly string[]
  readonly dnsOptions: readonly string[]
  readonly stopSignal?: string
  readonly stopGracePeriodMs: number
  readonly limits: ResourceLimits
  readonly reservations: ResourceReservations
  readonly placement: Placement
}

export interface NetworkAttachment {
  readonly name: string
  readonly aliases: readonly string[]
  readonly ipv4Address?: string
  readonly ipv6Address?: string
}

/** A secret or config by name, and the file that it becomes. */
export interface FileReference {
  readonly source: string
  /** Absolute path of the file in the container. */
  readonly target: string
  readonly uid: number
  readonly gid: number
  /** Permission bits, such as 0o444. */
  readonly mode: number
}

export interface DeviceMapping {
  readonly source: string
  readonly target: string
  /** Some of `r`, `w`, `m`. */
  readonly permissions: string
}

export interface Ulimit {
  readonly soft: number
  readonly hard: number
}

export interface ResourceLimits {
  readonly cpus?: number
  readonly memoryBytes?: number
  readonly pids?: number
}

export interface ResourceReservations {
  readonly cpus?: number
  readonly memoryBytes?: number
  readonly devices: readonly DeviceRequest[]
  /** Used by the scheduler in swarm mode. */
  readonly genericResources: readonly { readonly kind: string; readonly value: number }[]
}

/** Devices asked for by capability, such as GPUs. */
export interface DeviceRequest {
  readonly driver?: string
  readonly capabilities: readonly string[]
  /** -1: all. Never set together with `deviceIds`. */
  readonly count?: number
  readonly deviceIds?: readonly string[]
  readonly options: Readonly<Record<string, string>>
}

/** Used by the scheduler in swarm mode. */
export interface Placement {
  readonly constraints: readonly string[]
  /** What to spread over, such as `node.labels.zone`. */
  readonly spreadOver: readonly string[]
  readonly maxReplicasPerNode?: number
}
