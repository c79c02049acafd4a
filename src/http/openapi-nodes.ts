import { createRoute, z } from '@hono/zod-openapi'
import { InvocationStatus } from './openapi-invocations.ts'
import { json, problem } from './openapi.ts'

/** A host that calls may run on. */
export const NodeStatus = z
  .object({
    id: z.string(),
    name: z.string().meta({ description: 'Its host name: the `node` of calls that ran there' }),
    role: z.enum(['manager', 'worker', 'standalone']).meta({
      description: 'standalone: an engine by itself',
    }),
    leader: z.boolean().meta({ description: 'The manager that the others follow' }),
    availability: z.enum(['active', 'pause', 'drain']).meta({
      description: 'Whether it takes calls: `pause` keeps those that it has, `drain` ends them',
    }),
    state: z.enum(['ready', 'down', 'disconnected', 'unknown']),
    address: z.string().optional(),
    engineVersion: z.string(),
    os: z.string(),
    architecture: z.string(),
    cpus: z.number(),
    memoryBytes: z.number(),
    labels: z.record(z.string(), z.string()),
    genericResources: z
      .record(z.string(), z.number())
      .meta({ description: 'Such as GPUs: how many of each kind' }),
    running: z
      .array(InvocationStatus.pick({ id: true, function: true, state: true, startedAt: true }))
      .meta({
        description:
          "This gateway's calls that run there, or are about to: GET /invocations/{id} tells more",
      }),
  })
  .meta({ id: 'Node' })

export const listNodes = createRoute({
  method: 'get',
  path: '/nodes',
  summary: 'The hosts that calls may run on, and what runs there',
  responses: {
    200: {
      description: 'All of them',
      content: json(z.object({ nodes: z.array(NodeStatus) })),
    },
    503: { description: 'The engine does not answer', content: problem },
  },
})
