import type Docker from 'dockerode'
import { ask, toEngineError } from './docker.ts'
import type { EngineInfo, EngineNode } from './engine.ts'

/** An engine that takes longer is not there for those who ask, such as a load balancer. */
const PATIENCE_MS = 4_000

/** What `GET /info` says, as far as it concerns us. */
export interface Info {
  readonly Name: string
  readonly ServerVersion: string
  readonly OperatingSystem: string
  readonly ID?: string
  readonly OSType?: string
  readonly Architecture?: string
  readonly NCPU?: number
  readonly MemTotal?: number
  /** `KEY=value` */
  readonly Labels?: readonly string[] | null
  readonly GenericResources?: readonly GenericResource[] | null
  readonly DockerRootDir?: string
  readonly CgroupDriver?: string
  readonly MemoryLimit?: boolean
  readonly PidsLimit?: boolean
  readonly Plugins?: { readonly Log?: readonly string[] | null }
  readonly Swarm?: { readonly Cluster?: Cluster | null }
}

/** The swarm that an engine manages. */
interface Cluster {
  readonly Spec?: { readonly Orchestration?: { readonly TaskHistoryRetentionLimit?: number } }
}

/** So many of a kind, or one of a kind by its name. */
export interface GenericResource {
  readonly DiscreteResourceSpec?: { readonly Kind: string; readonly Value: number }
  readonly NamedResourceSpec?: { readonly Kind: string }
}

/** Rejects with `engine_unreachable`. */
export async function readEngineInfo(docker: Docker): Promise<EngineInfo> {
  return toEngineInfo(await readInfo(docker))
}

export function toEngineInfo(info: Info): EngineInfo {
  return {
    name: info.Name,
    version: info.ServerVersion,
    os: info.OperatingSystem,
    ...(info.DockerRootDir && { dataRoot: info.DockerRootDir }),
    warnings: toWarnings(info),
  }
}

/** The host of an engine by itself. Rejects with `engine_unreachable`. */
export async function readEngineNode(docker: Docker): Promise<Omit<EngineNode, 'invocations'>> {
  const info = await readInfo(docker)
  return {
    id: info.ID ?? info.Name,
    name: info.Name,
    role: 'standalone',
    isLeader: false,
    availability: 'active',
    state: 'ready',
    engineVersion: info.ServerVersion,
    os: info.OSType ?? 'linux',
    architecture: info.Architecture ?? 'unknown',
    cpus: info.NCPU ?? 0,
    memoryBytes: info.MemTotal ?? 0,
    labels: toLabels(info.Labels ?? []),
    genericResources: toGenericResources(info.GenericResources ?? []),
  }
}

/** Rejects with `engine_unreachable`. */
export async function readInfo(docker: Docker): Promise<Info> {
  const question = { method: 'GET', path: '/info', withinMs: PATIENCE_MS } as const
  const info = await ask(docker, question).catch((error: unknown) => {
    throw toEngineError(error)
  })
  return info as Info
}

function toLabels(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => {
      const [key = '', ...value] = label.split('=')
      return [key, value.join('=')]
    }),
  )
}

/** How many of each kind. */
export function toGenericResources(resources: readonly GenericResource[]): Record<string, number> {
  const counts = new Map<string, number>()
  const add = (kind: string, count: number) => counts.set(kind, (counts.get(kind) ?? 0) + count)
  for (const { DiscreteResourceSpec: some, NamedResourceSpec: one } of resources) {
    if (some) add(some.Kind, some.Value)
    if (one) add(one.Kind, 1)
  }
  return Object.fromEntries(counts)
}

/** Some engines, such as rootless ones on cgroup v1, take limits and then ignore them in silence. */
function toWarnings(info: Info): string[] {
  const warnings: string[] = []
  if (info.CgroupDriver === 'none') {
    warnings.push('The engine has no cgroups: it ignores the limits of memory, CPU and processes.')
  } else {
    if (info.MemoryLimit === false) warnings.push('The engine ignores memory limits.')
    if (info.PidsLimit === false) warnings.push('The engine ignores limits on processes.')
  }
  if (info.Plugins?.Log && !info.Plugins.Log.includes('local')) {
    warnings.push(
      'The engine has no log driver "local", which Oneshot needs: containers cannot be made.',
    )
  }
  return warnings
}
