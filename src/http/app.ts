import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Logger } from 'pino'
import { OneshotError } from '../core/error.ts'
import { CALL_ID, DURATION } from './answer.ts'
import { toHeaders, toProblem } from './errors.ts'
import type { FunctionRouteDeps } from './function.ts'
import { mountFunction } from './function.ts'
import type { FunctionsRouteDeps } from './functions.ts'
import { mountFunctions } from './functions.ts'
import type { HealthRouteDeps } from './health.ts'
import { mountHealth } from './health.ts'
import { mountOpenApi } from './openapi.ts'

export interface Env {
  Bindings: HttpBindings
  Variables: { callId: string; receivedAt: number }
}

export interface AppDeps extends FunctionRouteDeps, FunctionsRouteDeps, HealthRouteDeps {
  readonly newId: () => string
  readonly version: string
  readonly logger: Logger
}

/** A caller's own id that is safe to log and to send back. */
const CALL_ID_FORM = /^[\w.:-]{1,128}$/

export function createApp(deps: AppDeps): OpenAPIHono<Env> {
  const { newId, clock, logger } = deps
  const app = new OpenAPIHono<Env>()

  app.use(async (c, next) => {
    const given = c.req.header(CALL_ID)
    c.set('callId', given !== undefined && CALL_ID_FORM.test(given) ? given : newId())
    c.set('receivedAt', clock())
    await next()
    // A handler that has written its answer itself has set them itself.
    if (!c.env.outgoing.headersSent) c.header(CALL_ID, c.get('callId'))
  })

  mountFunction(app, deps)
  mountFunctions(app, deps)
  mountHealth(app, deps)
  mountOpenApi(app, deps.version)

  app.notFound((c) => {
    throw new OneshotError(
      'not_found',
      `There is no ${c.req.method} ${c.req.path}: GET /openapi.json lists what there is.`,
    )
  })

  app.onError((error, c) => {
    const problem = toProblem(error)
    if (problem.status >= 500) {
      logger.error({ err: error, callId: c.get('callId'), path: c.req.path }, problem.detail)
    }
    if (c.env.outgoing.headersSent) return RESPONSE_ALREADY_SENT
    return c.body(JSON.stringify(problem), problem.status as 500, {
      ...toHeaders(error),
      [CALL_ID]: c.get('callId'),
      [DURATION]: ((clock() - c.get('receivedAt')) / 1000).toFixed(3),
    })
  })

  return app
}
