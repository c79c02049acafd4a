import { expect, test } from 'vitest'
import type { ContainerSpec } from '../../src/core/function.ts'
import type { Mount } from '../../src/core/mount.ts'
import type { Allowance } from '../../src/core/policy.ts'
import { allowances, checkPolicy } from '../../src/core/policy.ts'
import { functionSpec } from '../function-spec.ts'

const engine = {
  sockets: ['/var/run/docker.sock', '/srv/engine/run/docker.sock'],
  folders: ['/mnt/disk/engine'],
}

function needed(container: Partial<ContainerSpec>): Allowance[] {
  const spec = functionSpec({ container })
  const without = (allowance: Allowance) => new Set(allowances.filter((each) => each !== allowance))
  const needs = allowances.filter(
    (allowance) => checkPolicy(spec, without(allowance), engine).length > 0,
  )
  expect(checkPolicy(spec, new Set(allowances), engine)).toEqual([])
  const problems = checkPolicy(spec, new Set(), engine)
  for (const allowance of needs) {
    expect(problems.map(({ message }) => message).join()).toContain(`ONESHOT_ALLOW=${allowance}`)
  }
  return needs
}

const bind = (source: string, readOnly = true): Partial<ContainerSpec> => ({
  mounts: [{ type: 'bind', source, target: '/x', readOnly, createHostPath: false }],
})
const volume = (driverOptions: Record<string, string>, driver?: string): Partial<ContainerSpec> => {
  const mount: Mount = {
    type: 'volume',
    source: 'v',
    target: '/x',
    readOnly: true,
    nocopy: false,
    driverOptions,
    labels: {},
    ...(driver && { driver }),
  }
  return { mounts: [mount] }
}

test('what a container has by default needs nothing', () => {
  expect(needed({})).toEqual([])
})

test.each<[string, Partial<ContainerSpec>, Allowance[]]>([
  ['privileged', { privileged: true }, ['privileged']],
  ['all capabilities', { capAdd: ['all'] }, ['privileged']],
  ['CAP_SYS_ADMIN in any case', { capAdd: ['cap_sys_admin'] }, ['privileged']],
  ['SYS_PTRACE', { capAdd: ['NET_RAW', 'SYS_PTRACE'] }, ['privileged']],
  ['SYS_MODULE', { capAdd: ['SYS_MODULE'] }, ['privileged']],
  ['DAC_READ_SEARCH', { capAdd: ['DAC_READ_SEARCH'] }, ['privileged']],
  ['seccomp off', { securityOpt: ['seccomp=unconfined'] }, ['privileged']],
  ['seccomp off, with a colon', { securityOpt: ['seccomp:unconfined'] }, ['privileged']],
  ['a seccomp profile of its own', { securityOpt: ['seccomp={}'] }, ['privileged']],
  ['apparmor off', { securityOpt: ['apparmor=unconfined'] }, ['privileged']],
  ['SELinux labels off', { securityOpt: ['label=disable'] }, ['privileged']],
  ['unmasked system paths', { securityOpt: ['systempaths=unconfined'] }, ['privileged']],
  [
    'a raw disk',
    { devices: [{ source: '/dev/sda', target: '/d', permissions: 'r' }] },
    ['privileged'],
  ],
  [
    'a raw disk by detour',
    { devices: [{ source: '/dev/dri/../sda', target: '/d', permissions: 'r' }] },
    ['privileged'],
  ],
  [
    'a raw disk by a relative path',
    { devices: [{ source: '../../../dev/sda', target: '/d', permissions: 'r' }] },
    ['privileged'],
  ],
  [
    'a path that ends like a name of the CDI',
    { devices: [{ source: '../a=b', target: '/d', permissions: 'r' }] },
    ['privileged'],
  ],
  [
    'all devices',
    { devices: [{ source: '/dev', target: '/d', permissions: 'r' }] },
    ['privileged'],
  ],
  [
    "the kernel's memory",
    { devices: [{ source: '/dev/mem', target: '/d', permissions: 'r' }] },
    ['privileged'],
  ],
  ["the host's network", { networkMode: 'host' }, ['host-network']],
  ["another container's network", { networkMode: 'container:db' }, ['host-network']],
  ["the host's network by name", { networks: [{ name: 'host', aliases: [] }] }, ['host-network']],
  ["the host's processes", { pid: 'host' }, ['host-pid']],
  ["another container's processes", { pid: 'container:db' }, ['host-pid']],
])('%s has to be allowed', (_, container, allowance) => {
  expect(needed(container)).toEqual(allowance)
})

test.each<[string, Partial<ContainerSpec>]>([
  ['a harmless capability', { capAdd: ['NET_BIND_SERVICE', 'CHOWN'] }],
  ['an apparmor profile', { securityOpt: ['apparmor=mine', 'seccomp=builtin'] }],
  ['a graphics card', { devices: [{ source: '/dev/dri/card0', target: '/d', permissions: 'rw' }] }],
  [
    'a device of the CDI',
    { devices: [{ source: 'vendor.example/gpu=0', target: '', permissions: 'rw' }] },
  ],
  ['a network by name', { networks: [{ name: 'hosts', aliases: [] }], networkMode: 'none' }],
  ['a folder of data', bind('/data', false)],
  ["a folder of a user's", bind('/home/me/data', false)],
  ['the CA certificates, to read', bind('/etc/ssl/certs')],
  ['the clock, to read', bind('/etc/localtime')],
  ["a folder whose name begins like the engine's", bind('/mnt/disk/engine.d', false)],
  ["a folder beside the folder of the engine's socket", bind('/srv/engine/run.d', false)],
  ["another program's socket in the folder that all use", bind('/run/mysqld/mysqld.sock', false)],
  ['a plain volume', volume({})],
  ['a volume by NFS', volume({ type: 'nfs', o: 'addr=10.0.0.1,ro', device: ':/exports' })],
  ['a volume in memory', volume({ type: 'tmpfs', device: 'tmpfs', o: 'size=1m' })],
  ['a volume that binds a folder of data', volume({ type: 'none', o: 'bind', device: '/data' })],
  ["another driver's volume", volume({ device: '/' }, 'rclone')],
  ['a tmpfs', { mounts: [{ type: 'tmpfs', target: '/tmp' }] }],
])('%s needs nothing', (_, container) => {
  expect(needed(container)).toEqual([])
})

test.each([
  '/',
  '//',
  '/./',
  '/data/..',
  '/data/../..',
  '/proc',
  '/proc/1/root',
  '/proc/self/root/data',
  '/proc/../proc/1/cwd',
  '/sys',
  '/sys/fs/cgroup',
  '/dev',
  '/dev/sda',
  '/etc',
  '/usr',
  '/root/.ssh',
  '/boot',
  '/home',
  '/var/lib',
  '/var/lib/docker/overlay2',
  '/var/lib/containerd',
  '/mnt/disk/engine',
  '/mnt/disk/engine/overlay2/x/merged',
  '/mnt/disk',
  '/mnt',
])('binding %s, even to read, is binding the host', (source) => {
  expect(needed(bind(source))).toEqual(['host-root'])
  expect(needed(volume({ type: 'none', o: 'rw,rbind', device: source }))).toEqual(['host-root'])
})

test.each(['/etc/cron.d', '/etc/passwd', '/usr/local/bin', '/var/spool/cron'])(
  'binding %s to write is binding the host',
  (source) => {
    expect(needed(bind(source, false))).toEqual(['host-root'])
    expect(needed(bind(source))).toEqual([])
  },
)

test('a volume that binds a system folder can be written by another mount, so a read-only one needs the host too', () => {
  expect(needed(volume({ type: 'none', o: 'bind', device: '/usr/local/share' }))).toEqual([
    'host-root',
  ])
  expect(needed(volume({ type: 'none', o: 'bind,ro', device: '/etc/ssl' }))).toEqual(['host-root'])
})

test.each([
  '/srv/engine/run/docker.sock',
  '/srv/engine/run',
  '/srv/engine/',
  '/srv/engine/run/containerd/containerd.sock.ttrpc',
  '/srv',
  '/srv/engine/./run//../run/docker.sock',
  '/var/run/docker.sock',
  '/run/docker.sock',
  '/run/../run/docker.sock',
  '/elsewhere/docker.sock',
  '/run/user/1000/docker.sock',
])('binding %s gives the engine', (source) => {
  expect(needed(bind(source))).toEqual(['docker-socket'])
  expect(needed(volume({ o: 'bind', device: source }))).toEqual(['docker-socket'])
})

test.each(['/var/run', '/run', '/var'])('binding %s takes both allowances', (source) => {
  expect(needed(bind(source))).toEqual(['docker-socket', 'host-root'])
})

test.each<[string, Record<string, string>]>([
  ['a disk', { type: 'ext4', device: '/dev/sda1' }],
  [
    'an overlay of the root',
    { type: 'overlay', device: 'overlay', o: 'lowerdir=/,upperdir=/tmp/u' },
  ],
  ['the processes', { type: 'proc', device: 'proc' }],
  ['a device without a type', { device: '/dev/sda1' }],
  ['a bind in disguise', { type: 'tmpfs', o: 'size=1m,bind', device: '/' }],
  ['a bind of nothing', { type: 'none', o: 'bind' }],
])('a local volume that mounts %s is the host', (_, options) => {
  expect(needed(volume(options))).toEqual(['host-root'])
  expect(needed(volume(options, 'local'))).toEqual(['host-root'])
})
