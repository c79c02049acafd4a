import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Logger } from 'pino'
import type { Caller } from '../core/access.ts'
import { OneshotError } from '../core/error.ts'
import { CALL_ID, DURATION, SERVER_TIMING } from './answer.ts'
import { toBadRequest, toHeaders, toProblem } from './errors.ts'
import type { DeliveriesRouteDeps } from './deliveries.ts'
import { mountDeliveries } from './deliveries.ts'
import type { FunctionRouteDeps } from './function.ts'
import { mountFunction } from './function.ts'
import type { FunctionsRouteDeps } from './functions.ts'
import { mountFunctions } from './functions.ts'
import type { GuardDeps } from './guard.ts'
import { checkGuards, mountGuards } from './guard.ts'
import { allowOrigins, harden } from './hardening.ts'
import type { HealthRouteDeps } from './health.ts'
import { mountHealth } from './health.ts'
import { createDeliveryReader } from './hook-request.ts'
import type { HookRouteDeps } from './hook.ts'
import { mountHook } from './hook.ts'
import type { HooksRouteDeps } from './hooks.ts'
import { mountHooks } from './hooks.ts'
import type { InvocationsRouteDeps } from './invocations.ts'
import { mountInvocations } from './invocations.ts'
import { mountMetrics } from './metrics.ts'
import type { NodesRouteDeps } from './nodes.ts'
import { mountNodes } from './nodes.ts'
import { CallId } from './openapi.ts'
import { mountOpenApi } from './openapi-document.ts'
import type { OriginOptions } from './origin.ts'
import { refuseForeignPages } from './origin.ts'
import type { SchedulesRouteDeps } from './schedules.ts'
import { mountSchedules } from './schedules.ts'
import { checkTarget } from './target.ts'

export interface Env {
  Bindings: HttpBindings & {
    /** Tells a client that waits with its body to send it, unless that has been told. */
    readonly askForBody: () => void
    /** Why the request is not to be looked at. */
    readonly refusal?: Error
  }
  Variables: {
    callId: string
    receivedAt: number
    /** Who may do what the route does. */
    caller: Caller
    /** Of a delivery to a webhook: where it comes from, as far as those are believed who hand it on. */
    address: string
  }
}

export interface AppDeps
  extends
    FunctionRouteDeps,
    FunctionsRouteDeps,
    InvocationsRouteDeps,
    DeliveriesRouteDeps,
    HookRouteDeps,
    HooksRouteDeps,
    NodesRouteDeps,
    HealthRouteDeps,
    GuardDeps,
    OriginOptions,
    SchedulesRouteDeps {
  readonly newId: () => string
  readonly version: string
  readonly logger: Logger
}

export function createApp(deps: AppDeps): OpenAPIHono<Env> {
  const { newId, clock, logger, corsOrigins } = deps
  const app = new OpenAPIHono<Env>({
    defaultHook(result) {
      if (!result.success) throw toBadRequest(result.error.issues)
    },
  })

  app.use(async (c, next) => {
    harden(c.env.outgoing)
    const { 'x-call-id': callId, 'x-request-id': requestId } = c.env.incoming.headers
    const given = CallId.safeParse(callId ?? requestId)
    const receivedAt = clock()
    c.set('callId', given.success ? given.data : newId())
    c.set('receivedAt', receivedAt)
    await next()
    // A handler that has written its answer itself has set them itself.
    if (c.env.outgoing.headersSent) return
    const ms = clock() - receivedAt
    c.header(CALL_ID, c.get('callId'))
    c.header(DURATION, (ms / 1000).toFixed(3))
    c.header(SERVER_TIMING, `total;dur=${ms}`)
  })
  app.use(async (c, next) => {
    if (c.env.refusal !== undefined) throw c.env.refusal
    checkTarget(c.env.incoming)
    await next()
  })
  if (corsOrigins.length > 0) app.use(allowOrigins(corsOrigins))
  if (deps.authenticator.isOpen) app.use(refuseForeignPages(deps))
  mountGuards(app, deps)

  mountFunction(app, deps)
  mountFunctions(app, deps)
  mountInvocations(app, deps)
  mountDeliveries(app, deps)
  const readDelivery = createDeliveryReader(clock)
  mountHook(app, deps, readDelivery)
  mountHooks(app, deps, readDelivery)
  mountNodes(app, deps)
  mountSchedules(app, deps)
  mountHealth(app, deps)
  mountMetrics(app, deps)
  mountOpenApi(app, deps.version)
  checkGuards(app)

  app.notFound((c) => {
    throw new OneshotError(
      'not_found',
      `There is no ${c.req.method} ${c.req.path}: GET /openapi.json lists what there is.`,
    )
  })

  app.onError((error, c) => {
    const problem = toProblem(error)
    const about = { callId: c.get('callId'), path: c.req.path }
    // Its own doing, and nobody is left to answer.
    if (error === c.env.incoming.errored) {
      logger.debug(about, 'the client went away')
      return RESPONSE_ALREADY_SENT
    }
    if (problem.code === 'internal') logger.error({ err: error, ...about }, problem.detail)
    else if (problem.status >= 500) logger.warn({ code: problem.code, ...about }, problem.detail)
    if (c.env.outgoing.headersSent) {
      // Else the client would wait for the rest for ever.
      if (!c.env.outgoing.writableEnded) c.env.outgoing.destroy()
      return RESPONSE_ALREADY_SENT
    }
    return c.body(JSON.stringify(problem), problem.status as 500, toHeaders(error))
  })

  return app
}
