import type { ContainerSpec, FunctionSpec } from './function.ts'
import type { PolicyProblem } from './policy.ts'

/** What swarm has no word for, each with the key that asks for it. */
export function checkSwarm({ container }: FunctionSpec): PolicyProblem[] {
  return checks.flatMap(([key, what, isAsked]) =>
    isAsked(container)
      ? [{ path: [key], message: `${what}: swarm can't do that (ONESHOT_BACKEND=swarm)` }]
      : [],
  )
}

type Check = readonly [key: string, what: string, isAsked: (container: ContainerSpec) => boolean]

/** What swarm knows of `security_opt`. */
export const NO_NEW_PRIVILEGES = /^no-new-privileges(?:[:=]true)?$/
export const SECCOMP_OFF = /^seccomp[:=]unconfined$/
export const APPARMOR_OFF = /^apparmor[:=]unconfined$/
const SECURITY_OPTIONS = [NO_NEW_PRIVILEGES, SECCOMP_OFF, APPARMOR_OFF, /^seccomp[:=]builtin$/]

const NETWORK_MODES = new Set([undefined, 'none', 'bridge', 'host'])

const checks: readonly Check[] = [
  ['privileged', 'a task with all privileges', ({ privileged }) => privileged],
  ['pid', "the host's or another container's processes", ({ pid }) => pid !== undefined],
  [
    'network_mode',
    "another container's network; name networks, or write none or host",
    ({ networkMode }) => !NETWORK_MODES.has(networkMode),
  ],
  [
    'networks',
    'an address of its own in a network',
    ({ networks }) => networks.some((it) => it.ipv4Address ?? it.ipv6Address),
  ],
  [
    'security_opt',
    'other options than no-new-privileges, seccomp=unconfined and apparmor=unconfined',
    ({ securityOpt }) =>
      securityOpt.some((option) => !SECURITY_OPTIONS.some((known) => known.test(option))),
  ],
  ['devices', "the host's devices; reserve generic resources", ({ devices }) => devices.length > 0],
  [
    'deploy',
    'devices by capability; reserve generic_resources',
    ({ reservations }) => reservations.devices.length > 0,
  ],
  [
    'runtime',
    'a runtime; set it as the default of the nodes',
    ({ runtime }) => runtime !== undefined,
  ],
  ['shm_size', 'a size of /dev/shm; mount a tmpfs there', ({ shmBytes }) => shmBytes !== undefined],
]
