import { posix } from 'node:path'
import type Docker from 'dockerode'
import type {
  ContainerSpec,
  DeviceRequest,
  FunctionSpec,
  NetworkAttachment,
} from '../core/function.ts'
import type { BindMount, Mount } from '../core/mount.ts'
import { placeholdersIn } from '../core/template.ts'
import { GATE, GATE_PROCESSES } from './gate.ts'
import { toLabels } from './labels.ts'
import type { Namespace } from './namespace.ts'

/** A container that is to be made. */
export interface Blueprint {
  readonly name: string
  readonly spec: FunctionSpec
  /** The call's, everything filled in; or, for one that is made ahead of its call, the definition's. */
  readonly container: ContainerSpec
  readonly invocationId?: string
  readonly openStdin: boolean
  /** Its command is held back by the gate. */
  readonly held: boolean
  /** A network namespace made ahead. */
  readonly namespace?: Namespace | undefined
}

/** The body of `POST /containers/create`. Networks after the first are connected once the container exists. */
export function toContainerCreateOptions(
  blueprint: Blueprint,
  gatewayId: string,
): Docker.ContainerCreateOptions {
  const { container, openStdin, held, spec, invocationId } = blueprint
  const [network] = container.networks
  // What only a call can fill in comes through the gate.
  const variables = Object.entries(container.environment).filter(
    ([, value]) => placeholdersIn(value).length === 0,
  )
  const command = held
    ? { Entrypoint: [...GATE], Cmd: [] }
    : {
        ...(container.command && { Cmd: [...container.command] }),
        ...(container.entrypoint && { Entrypoint: [...container.entrypoint] }),
      }
  return {
    Image: container.image,
    ...command,
    Env: variables.map(([name, value]) => `${name}=${value}`),
    ...(container.workingDir !== undefined && { WorkingDir: container.workingDir }),
    ...(container.user !== undefined && { User: container.user }),
    ...(container.hostname !== undefined && { Hostname: container.hostname }),
    ...(container.stopSignal !== undefined && { StopSignal: container.stopSignal }),
    StopTimeout: Math.ceil(container.stopGracePeriodMs / 1000),
    Tty: container.tty,
    OpenStdin: openStdin,
    StdinOnce: openStdin,
    AttachStdin: openStdin,
    AttachStdout: true,
    AttachStderr: true,
    // A probe would be one more process in a container that lives for one call.
    Healthcheck: { Test: ['NONE'] },
    Labels: {
      ...container.labels,
      ...toLabels({ gatewayId, functionName: spec.name, ...(invocationId && { invocationId }) }),
    },
    HostConfig: toHostConfig(blueprint),
    ...(network && {
      NetworkingConfig: { EndpointsConfig: { [network.name]: toEndpoint(network) } },
    }),
  }
}

export function toEndpoint({ aliases, ipv4Address, ipv6Address }: NetworkAttachment) {
  const addresses = {
    ...(ipv4Address !== undefined && { IPv4Address: ipv4Address }),
    ...(ipv6Address !== undefined && { IPv6Address: ipv6Address }),
  }
  return {
    Aliases: [...aliases],
    ...(Object.keys(addresses).length > 0 && { IPAMConfig: addresses }),
  }
}

function toHostConfig({
  container: spec,
  spec: {
    limits: { logBytes },
  },
  held,
  namespace,
}: Blueprint): Docker.HostConfig {
  const { limits, reservations } = spec
  const binds = spec.mounts.filter(isBindMadeOnDemand)
  const mounts = [
    ...spec.mounts.filter((mount) => !isBindMadeOnDemand(mount)),
    ...fileVolumes(spec),
    ...(namespace?.mounts ?? []),
  ]
  return {
    NetworkMode: namespace?.networkMode ?? spec.networkMode ?? spec.networks[0]?.name ?? 'bridge',
    // Blocking, so that a flood can't fill the daemon's memory; sized, so that it can't fill its disk.
    LogConfig: {
      Type: 'local',
      Config: {
        'max-size': String(logBytes),
        'max-file': '1',
        compress: 'false',
        mode: 'blocking',
      },
    },
    RestartPolicy: { Name: 'no' },
    // Removed by hand: the engine's own removal races with reading the exit code.
    AutoRemove: false,
    Privileged: spec.privileged,
    ReadonlyRootfs: spec.readOnly,
    CapAdd: [...spec.capAdd],
    CapDrop: [...spec.capDrop],
    SecurityOpt: [...spec.securityOpt],
    GroupAdd: [...spec.groupAdd],
    ...(spec.init !== undefined && { Init: spec.init }),
    ...(spec.pid !== undefined && { PidMode: spec.pid }),
    ...(spec.runtime !== undefined && { Runtime: spec.runtime }),
    ...(spec.shmBytes !== undefined && { ShmSize: spec.shmBytes }),
    Binds: binds.map(toBind),
    Mounts: mounts.map(toMountSettings),
    Devices: spec.devices.map(({ source, target, permissions }) => ({
      PathOnHost: source,
      PathInContainer: target,
      CgroupPermissions: permissions,
    })),
    DeviceRequests: reservations.devices.map(toDeviceRequest),
    Ulimits: Object.entries(spec.ulimits).map(([Name, { soft, hard }]) => ({
      Name,
      Soft: soft,
      Hard: hard,
    })),
    Sysctls: { ...spec.sysctls },
    ExtraHosts: [...spec.extraHosts],
    Dns: [...spec.dns],
    DnsSearch: [...spec.dnsSearch],
    DnsOptions: [...spec.dnsOptions],
    ...(limits.cpus !== undefined && { NanoCpus: Math.round(limits.cpus * 1e9) }),
    // Equal to the memory limit: no swap on top of it.
    ...(limits.memoryBytes !== undefined && {
      Memory: limits.memoryBytes,
      MemorySwap: limits.memoryBytes,
    }),
    ...(reservations.memoryBytes !== undefined && { MemoryReservation: reservations.memoryBytes }),
    // The gate's own processes take no room from the command's.
    ...(limits.pids !== undefined && { PidsLimit: limits.pids + (held ? GATE_PROCESSES : 0) }),
  }
}

/** The engine makes a missing source only for binds in the short form, whose parts are parted by colons. */
function isBindMadeOnDemand(mount: Mount): mount is BindMount {
  return mount.type === 'bind' && mount.createHostPath && !mount.source.includes(':')
}

function toBind({ source, target, readOnly, propagation, selinux }: BindMount): string {
  const options = [readOnly ? 'ro' : 'rw', propagation, selinux].filter((option) => option)
  return `${source}:${target}:${options.join(',')}`
}

/** Files can't be copied onto a read-only root, but onto a volume: one for each folder that gets secrets or configs. */
function fileVolumes(spec: ContainerSpec): Mount[] {
  if (!spec.readOnly) return []
  const folders = [...spec.secrets, ...spec.configs].map(({ target }) => posix.dirname(target))
  return [...new Set(folders)].map((target) => ({
    type: 'volume',
    target,
    readOnly: false,
    nocopy: false,
    driverOptions: {},
    labels: {},
  }))
}

export function toMountSettings(mount: Mount): Docker.MountSettings {
  switch (mount.type) {
    case 'bind':
      return {
        Type: 'bind',
        Source: mount.source,
        Target: mount.target,
        ReadOnly: mount.readOnly,
        ...(mount.propagation !== undefined && {
          BindOptions: { Propagation: mount.propagation as Docker.MountPropagation },
        }),
      }
    case 'volume':
      return {
        Type: 'volume',
        Source: mount.source ?? '',
        Target: mount.target,
        ReadOnly: mount.readOnly,
        VolumeOptions: {
          NoCopy: mount.nocopy,
          Labels: { ...mount.labels },
          ...((mount.driver !== undefined || Object.keys(mount.driverOptions).length > 0) && {
            DriverConfig: { Name: mount.driver ?? 'local', Options: { ...mount.driverOptions } },
          }),
        } as NonNullable<Docker.MountSettings['VolumeOptions']>,
      }
    case 'tmpfs':
      return {
        Type: 'tmpfs',
        Source: '',
        Target: mount.target,
        TmpfsOptions: {
          ...(mount.sizeBytes !== undefined && { SizeBytes: mount.sizeBytes }),
          ...(mount.mode !== undefined && { Mode: mount.mode }),
        } as NonNullable<Docker.MountSettings['TmpfsOptions']>,
      }
  }
}

function toDeviceRequest(device: DeviceRequest): Docker.DeviceRequest {
  return {
    ...(device.driver !== undefined && { Driver: device.driver }),
    ...(device.count !== undefined && { Count: device.count }),
    ...(device.deviceIds && { DeviceIDs: [...device.deviceIds] }),
    Capabilities: [[...device.capabilities]],
    Options: { ...device.options },
  }
}
