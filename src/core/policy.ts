import type { ContainerSpec, DeviceMapping, FunctionSpec } from './function.ts'
import type { Mount, VolumeMount } from './mount.ts'
import { absolutePath, hostPath, isDeviceName, isInside } from './path.ts'

/** What only the operator can allow, because it gives a function the host, or part of it. */
export const allowances = [
  'privileged',
  'host-network',
  'host-pid',
  'docker-socket',
  'host-root',
] as const
export type Allowance = (typeof allowances)[number]

export interface PolicyProblem {
  /** The key of the definition. */
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** What of the engine stands on its host: absolute paths. */
export interface EnginePaths {
  readonly sockets: readonly string[]
  /** Where it keeps what is its own, such as images and volumes. */
  readonly folders: readonly string[]
}

/** Something that only the operator can allow. */
export interface Need {
  readonly path: PolicyProblem['path']
  readonly what: string
  readonly allowance: Allowance
}

/**
 * What `spec` asks for beyond `allowed`. It sees what a definition says, not what stands on the engine's host: a
 * symbolic link there that leads to the socket or the root, or a volume made elsewhere, is its operator's own.
 */
export function checkPolicy(
  spec: FunctionSpec,
  allowed: ReadonlySet<Allowance>,
  engine: EnginePaths,
): PolicyProblem[] {
  return findNeeds(spec, engine)
    .filter(({ allowance }) => !allowed.has(allowance))
    .map(({ path, what, allowance }) => ({
      path,
      message: `${what}: the operator can allow it with ONESHOT_ALLOW=${allowance}`,
    }))
}

/** What `checkPolicy` goes by. */
export function findNeeds({ container }: FunctionSpec, engine: EnginePaths): Need[] {
  return [
    ...privileges(container),
    ...namespaces(container),
    ...container.devices.flatMap(deviceNeeds),
    ...container.mounts.flatMap((mount) => mountNeeds(mount, engine)),
  ]
}

/** Each of these is a known way out of a container, or into the kernel. */
const dangerous = new Set([
  'ALL',
  'BPF',
  'CHECKPOINT_RESTORE',
  'DAC_READ_SEARCH',
  'MAC_ADMIN',
  'MAC_OVERRIDE',
  'PERFMON',
  'SYSLOG',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_MODULE',
  'SYS_PTRACE',
  'SYS_RAWIO',
  'SYS_TIME',
])

/** A capability's name as the engine reads it: in upper case, without `CAP_`. */
export function toCapability(name: string): string {
  return name.trim().toUpperCase().replace(/^CAP_/, '')
}

/** `capability` as `toCapability` gives it. */
export function isDangerous(capability: string): boolean {
  return dangerous.has(capability)
}

function privileges({ privileged, capAdd, securityOpt }: ContainerSpec): Need[] {
  const needs: Need[] = []
  const need = (path: Need['path'], what: string) =>
    needs.push({ path, what, allowance: 'privileged' })
  if (privileged) need(['privileged'], 'a privileged container has the host')
  for (const [index, name] of capAdd.entries()) {
    if (isDangerous(toCapability(name))) {
      need(['cap_add', index], `the capability ${name} is a way out of the container`)
    }
  }
  for (const option of securityOpt) {
    // A profile of the definition's own may allow anything; only the engine's is known.
    const loosens = /^(?:seccomp[:=](?!builtin$)|apparmor[:=]unconfined|label[:=]|systempaths[:=])/
    if (loosens.test(option)) need(['security_opt'], `${option} lifts the engine's protection`)
  }
  return needs
}

function namespaces({ networkMode, networks, pid }: ContainerSpec): Need[] {
  const needs: Need[] = []
  if (networkMode === 'host' || networkMode?.startsWith('container:')) {
    needs.push({
      path: ['network_mode'],
      what: `${networkMode} is another's network, with all that listens there`,
      allowance: 'host-network',
    })
  }
  if (networks.some(({ name }) => name === 'host' || name.startsWith('container:'))) {
    const what = "host is the host's own network, with all that listens there"
    needs.push({ path: ['networks'], what, allowance: 'host-network' })
  }
  if (pid !== undefined) {
    const what = `${pid} shows the processes of others, and their environment`
    needs.push({ path: ['pid'], what, allowance: 'host-pid' })
  }
  return needs
}

/** Devices that give no more than what they are made for. All others need to be allowed. */
const harmless =
  /^\/dev\/(?:null|zero|full|u?random|fuse|kvm|net\/tun|dri(?:\/\w+)?|kfd|dxg|nvidia[\w-]*(?:\/[\w-]+)?|accel\/\w+|infiniband\/\w+|snd(?:\/\w+)?|video\d+|tty(?:USB|ACM)\d+)$/

function deviceNeeds({ source }: DeviceMapping): Need[] {
  // What has a name of the Container Device Interface is on the operator's own list.
  if (isDeviceName(source) || (source.startsWith('/') && harmless.test(absolutePath(source)))) {
    return []
  }
  const what = `${source} may give raw access to the host`
  return [{ path: ['devices'], what, allowance: 'privileged' }]
}

function mountNeeds(mount: Mount, engine: EnginePaths): Need[] {
  switch (mount.type) {
    case 'bind':
      return bindNeeds(mount.source, mount.readOnly, engine)
    case 'volume':
      return volumeNeeds(mount, engine)
    case 'tmpfs':
      return []
  }
}

const remote = new Set(['nfs', 'nfs4', 'cifs', 'smb3', 'tmpfs'])

/** The local driver hands its options to mount(2): they can bind any folder, or mount the host's disk. */
function volumeNeeds(
  { driver = 'local', driverOptions }: VolumeMount,
  engine: EnginePaths,
): Need[] {
  const { type = '', o = '', device } = driverOptions
  if (driver !== 'local' || (device === undefined && type === '')) return []
  const isBind = o.split(',').some((option) => /^r?bind$/.test(option.trim()))
  // Read-only says how this mount shows the volume: another mount of the same volume can write.
  if (isBind) return bindNeeds(device ?? '/', false, engine)
  if (remote.has(type)) return []
  const what = `a volume of type ${JSON.stringify(type)} can mount what belongs to the host`
  return [{ path: ['volumes'], what, allowance: 'host-root' }]
}

/** Nothing in these is for a function, and some of it is the host. */
const closed = [
  '/proc',
  '/sys',
  '/dev',
  '/boot',
  '/root',
  '/var/lib/docker',
  '/var/lib/containerd',
  '/var/lib/containers',
  '/run/containerd',
  '/run/docker',
  '/run/podman',
  '/run/crio',
  '/run/systemd',
  '/run/dbus',
]
/** To write in these is to own the host; what lies in them may be read. */
const system = ['/etc', '/usr', '/bin', '/sbin', '/lib', '/lib64', '/var/spool']
const roots = new Set(['/', ...system, '/var', '/var/lib', '/run', '/home'])
const socketNames = /\/(?:docker|containerd|podman|crio|dockershim)\.sock$/

/** What is everyone's, although an engine's socket may lie in it. */
const shared = new Set(['/', '/run', '/tmp'])

function bindNeeds(source: string, readOnly: boolean, engine: EnginePaths): Need[] {
  const path = hostPath(source)
  const needs: Need[] = []
  const isTheHost =
    roots.has(path) ||
    closed.some((folder) => isInside(path, folder)) ||
    (!readOnly && system.some((folder) => isInside(path, folder))) ||
    engine.folders.map(hostPath).some((own) => isInside(path, own) || isInside(own, path))
  if (isTheHost) {
    const what = `${source} is part of what the host is made of`
    needs.push({ path: ['volumes'], what, allowance: 'host-root' })
  }
  const leadsToSocket = engine.sockets.some((socket) => {
    const folder = hostPath(`${socket}/..`)
    return (
      isInside(hostPath(socket), path) ||
      isInside(absolutePath(socket), absolutePath(source)) ||
      (!shared.has(folder) && isInside(path, folder))
    )
  })
  if (path !== '/' && (leadsToSocket || socketNames.test(path))) {
    const what = `${source} gives the engine's socket, and with it the host`
    needs.push({ path: ['volumes'], what, allowance: 'docker-socket' })
  }
  return needs
}
