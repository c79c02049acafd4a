import type { OpenAPIHono } from '@hono/zod-openapi'
import type { z } from '@hono/zod-openapi'
import type { CallThere, Node } from '../gateway/nodes.ts'
import type { Env } from './app.ts'
import { toTime } from './invocations.ts'
import { refuseOtherMethods } from './methods.ts'
import type { NodeStatus } from './openapi-nodes.ts'
import { listNodes } from './openapi-nodes.ts'

export interface NodesRouteDeps {
  readonly listNodes: () => Promise<readonly Node[]>
}

/** `GET /nodes`. */
export function mountNodes(app: OpenAPIHono<Env>, deps: NodesRouteDeps): void {
  app.openapi(listNodes, async (c) =>
    c.json({ nodes: (await deps.listNodes()).map(toStatus) }, 200),
  )
  refuseOtherMethods(app, '/nodes', 'GET, HEAD')
}

function toStatus({ isLeader, labels, genericResources, running, ...node }: Node) {
  return {
    ...node,
    leader: isLeader,
    labels: { ...labels },
    genericResources: { ...genericResources },
    running: running.map(toCall),
  } satisfies z.infer<typeof NodeStatus>
}

function toCall({ id, functionName, state, startedAt }: CallThere) {
  return {
    id,
    function: functionName,
    state,
    ...(startedAt !== undefined && { startedAt: toTime(startedAt) }),
  }
}
