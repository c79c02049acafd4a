import { DEFAULT_RETRIES } from '../src/core/retry.ts'
import type { ContainerSpec, FunctionSpec } from '../src/core/function.ts'

/** A definition with nothing but what it must have. */
export function functionSpec(
  overrides: Partial<Omit<FunctionSpec, 'container'>> & { container?: Partial<ContainerSpec> } = {},
): FunctionSpec {
  const { container, ...rest } = overrides
  return {
    name: 'test',
    timeoutMs: 60_000,
    parameters: {},
    response: 'envelope',
    body: 'auto',
    input: 'stdin',
    warm: { min: 0, max: 0 },
    retries: DEFAULT_RETRIES,
    retriesAreAsked: false,
    isPublic: false,
    triggers: [],
    limits: { inputBytes: 1024 ** 3, outputBytes: 1024 ** 2, logBytes: 1024 ** 2 },
    ...rest,
    container: {
      image: 'busybox:stable',
      environment: {},
      groupAdd: [],
      tty: false,
      readOnly: false,
      privileged: false,
      pullPolicy: 'missing',
      networks: [],
      mounts: [],
      secrets: [],
      configs: [],
      capAdd: [],
      capDrop: [],
      securityOpt: [],
      devices: [],
      ulimits: {},
      sysctls: {},
      labels: {},
      extraHosts: [],
      dns: [],
      dnsSearch: [],
      dnsOptions: [],
      stopGracePeriodMs: 10_000,
      limits: {},
      reservations: { devices: [], genericResources: [] },
      placement: { constraints: [], spreadOver: [] },
      ...container,
    },
  }
}
