import type { Invocation } from '../core/invocation.ts'
import type { Engine, EngineNode } from '../engine/engine.ts'
import type { Store } from '../store/store.ts'
import type { Invocations } from './invocations.ts'

export interface NodesDeps {
  readonly engine: Pick<Engine, 'nodes'>
  readonly store: Pick<Store, 'invocations'>
  readonly invocations: Pick<Invocations, 'findProgress'>
}

/** A host that calls may run on. */
export interface Node extends Omit<EngineNode, 'invocations'> {
  /** The calls that are there. */
  readonly running: readonly CallThere[]
}

export interface CallThere extends Pick<Invocation, 'id' | 'functionName' | 'state'> {
  /** Milliseconds since the epoch; absent if it has not started, or nobody can tell when. */
  readonly startedAt: number | undefined
}

/** Lists the hosts, each with what is there of the calls on record. Rejects with `engine_unreachable`. */
export async function listNodes({
  engine,
  store,
  invocations,
}: NodesDeps): Promise<readonly Node[]> {
  const nodes: Node[] = []
  for (const { invocations: ids, ...node } of await engine.nodes()) {
    const running: CallThere[] = []
    // One after another: parameters are up to 1 MiB each.
    for (const id of ids) {
      const found = await store.invocations.find(id)
      if (!found) continue
      const { functionName, state } = found
      const startedAt = found.startedAt ?? invocations.findProgress(found)?.startedAt
      running.push({ id, functionName, state, startedAt })
    }
    nodes.push({ ...node, running })
  }
  return nodes
}
