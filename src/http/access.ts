/**
 * What a route asks of its caller:
 * `open`: nothing. `signed`: the webhook's own signature, which its handler checks. `functions`: `read` or `deploy`. `invoke`: to call the function that the
 * path names, unless it is public. `invocation`: `read`, or to call the invocation's function. `invocation-change`: to call the invocation's function.
 */
export type Right =
  | 'open'
  | 'signed'
  | 'read'
  | 'functions'
  | 'deploy'
  | 'admin'
  | 'invoke'
  | 'invocation'
  | 'invocation-change'

export interface Access {
  readonly right: Right
  /** What the log calls the change that the route makes. */
  readonly audit?: string
  /** Never limited, whatever it shows of its caller is not looked at: what watches over the gateway has to get through whoever else asks. Goes with `open`. */
  readonly unlimited?: boolean
}

/** Every route, and what it needs. The gateway does not start with one that is not listed. HEAD is as GET. */
export const ACCESS: Readonly<Record<string, Access>> = {
  'GET /healthz': { right: 'open', unlimited: true },
  'GET /readyz': { right: 'open' },
  'GET /openapi.json': { right: 'open' },
  'POST /function/{name}': { right: 'invoke' },
  'POST /async-function/{name}': { right: 'invoke' },
  'GET /functions': { right: 'functions' },
  'GET /functions/{name}': { right: 'functions' },
  'PUT /functions/{name}': { right: 'deploy', audit: 'function.deploy' },
  'DELETE /functions/{name}': { right: 'deploy', audit: 'function.delete' },
  'GET /invocations': { right: 'read' },
  'GET /invocations/{id}': { right: 'invocation' },
  'GET /invocations/{id}/result': { right: 'invocation' },
  'GET /invocations/{id}/logs': { right: 'invocation' },
  'POST /invocations/{id}/cancel': { right: 'invocation-change', audit: 'invocation.cancel' },
  'POST /invocations/{id}/replay': { right: 'invocation-change', audit: 'invocation.replay' },
  'GET /deliveries': { right: 'read' },
  'GET /deliveries/{id}': { right: 'read' },
  'POST /deliveries/{id}/retry': { right: 'admin', audit: 'delivery.retry' },
  'POST /hook/{name}': { right: 'signed' },
  'OPTIONS /hook/{name}': { right: 'signed' },
  'GET /hooks': { right: 'read' },
  'GET /hooks/{name}/deliveries': { right: 'read' },
  'GET /hooks/{name}/deliveries/{id}': { right: 'read' },
  'POST /hooks/{name}/deliveries/{id}/redeliver': { right: 'admin', audit: 'hook.redeliver' },
  'POST /hooks/{name}/dry-run': { right: 'read' },
  'GET /schedules': { right: 'read' },
  'GET /nodes': { right: 'read' },
  'GET /metrics': { right: 'read' },
}

/** A path as hono has it: `/function/:name` of `/function/{name}`. */
export function toPattern(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1')
}

/** The other way round. */
export function toPath(pattern: string): string {
  return pattern.replaceAll(/:(\w+)/g, '{$1}')
}
