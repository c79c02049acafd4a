import { ask } from '../docker.ts'
import type { EngineNode } from '../engine.ts'
import type { GenericResource } from '../info.ts'
import { toGenericResources } from '../info.ts'
import { INVOCATION_LABEL } from '../labels.ts'
import type { Managers } from './managers.ts'
import { toManagerError } from './managers.ts'
import type { SwarmTask } from './task.ts'
import { isOver } from './task.ts'

/** The swarm's nodes. */
export interface Nodes {
  /** With what of `tasks` is on each. Rejects with `engine_unreachable`. */
  list(tasks: readonly SwarmTask[]): Promise<readonly EngineNode[]>
  /** Its host name; undefined if it can't be had now. */
  findName(id: string): Promise<string | undefined>
  /**
   * Milliseconds since the epoch, by the managers' clock: when it last went, came, or was changed by somebody. A network's first
   * task on it, and its last, change it as well.
   */
  findChange(id: string): Promise<number | undefined>
  /** Whether it ran out of memory: only the engine of its node knows, so that false may mean that nobody can tell. */
  isOomKilled(nodeId: string, containerId: string | undefined): Promise<boolean>
}

interface Container {
  readonly State: { readonly OOMKilled: boolean }
}

/** As the managers tell of one, with what matters to us. */
interface Node {
  readonly ID: string
  readonly UpdatedAt: string
  readonly Spec: {
    readonly Role: EngineNode['role']
    readonly Availability: EngineNode['availability']
    readonly Labels?: Readonly<Record<string, string>> | null
  }
  readonly Description: {
    /** Not of one that has never come. */
    readonly Hostname?: string
    readonly Platform?: { readonly Architecture?: string; readonly OS?: string }
    readonly Resources?: {
      readonly NanoCPUs?: number
      readonly MemoryBytes?: number
      readonly GenericResources?: readonly GenericResource[] | null
    }
    readonly Engine?: { readonly EngineVersion?: string }
  }
  readonly Status: { readonly State: EngineNode['state']; readonly Addr?: string }
  readonly ManagerStatus?: { readonly Leader?: boolean } | null
}

/** Of an engine that is asked beyond what its managers know. */
const PATIENCE_MS = 4_000

export function createNodes({ managers }: { readonly managers: Managers }): Nodes {
  const names = new Map<string, string>()

  async function list(tasks: readonly SwarmTask[]): Promise<readonly EngineNode[]> {
    const question = { method: 'GET', path: '/nodes', rideOutMs: 0 } as const
    const nodes = (await managers.ask(question).catch((error: unknown) => {
      throw toManagerError(error)
    })) as readonly Node[]
    const byNode = Map.groupBy(
      tasks.filter((task) => !isOver(task)),
      ({ NodeID }) => NodeID,
    )
    return nodes.map((node) =>
      toEngineNode(
        node,
        (byNode.get(node.ID) ?? []).flatMap(
          ({ Spec }) => Spec?.ContainerSpec?.Labels?.[INVOCATION_LABEL] ?? [],
        ),
      ),
    )
  }

  async function find(id: string): Promise<Node | undefined> {
    const question = { method: 'GET', path: `/nodes/${id}` } as const
    const node = (await managers.ask(question).catch(() => undefined)) as Node | undefined
    const name = node?.Description.Hostname
    if (name !== undefined) names.set(id, name)
    return node
  }

  async function findName(id: string): Promise<string | undefined> {
    return names.get(id) ?? (await find(id))?.Description.Hostname
  }

  async function findChange(id: string): Promise<number | undefined> {
    const node = await find(id)
    return node && Date.parse(node.UpdatedAt)
  }

  async function isOomKilled(nodeId: string, containerId: string | undefined): Promise<boolean> {
    if (containerId === undefined) return false
    for (const docker of managers.engines) {
      const get = (path: string) =>
        ask(docker, { method: 'GET', path, withinMs: PATIENCE_MS }).catch(() => undefined)
      const info = (await get('/info')) as { Swarm?: { NodeID?: string } } | undefined
      if (info?.Swarm?.NodeID !== nodeId) continue
      const container = (await get(`/containers/${containerId}/json`)) as Container | undefined
      return container?.State.OOMKilled ?? false
    }
    return false
  }

  return { list, findName, findChange, isOomKilled }
}

function toEngineNode(
  { ID, Spec, Description, Status, ManagerStatus }: Node,
  invocations: readonly string[],
): EngineNode {
  const { Hostname, Platform, Resources, Engine } = Description
  return {
    id: ID,
    name: Hostname ?? '',
    role: Spec.Role,
    isLeader: ManagerStatus?.Leader === true,
    availability: Spec.Availability,
    state: Status.State,
    ...(Status.Addr !== undefined && { address: Status.Addr }),
    engineVersion: Engine?.EngineVersion ?? '',
    os: Platform?.OS ?? '',
    architecture: Platform?.Architecture ?? '',
    cpus: (Resources?.NanoCPUs ?? 0) / 1e9,
    memoryBytes: Resources?.MemoryBytes ?? 0,
    labels: Spec.Labels ?? {},
    genericResources: toGenericResources(Resources?.GenericResources ?? []),
    invocations,
  }
}
