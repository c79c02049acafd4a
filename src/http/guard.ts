import type { IncomingMessage } from 'node:http'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context, MiddlewareHandler } from 'hono'
import type { Logger } from 'pino'
import type { Authenticator, Caller, Need } from '../core/access.ts'
import { allows, ANONYMOUS, showNeed } from '../core/access.ts'
import type { Network } from '../core/address.ts'
import { findClient } from '../core/address.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Rate } from '../core/rate.ts'
import { Unauthorized } from '../core/unauthorized.ts'
import { FUNCTION_NAME } from '../gateway/catalog-entry.ts'
import type { Invocations } from '../gateway/invocations.ts'
import type { Access } from './access.ts'
import { ACCESS, toPath, toPattern } from './access.ts'
import type { Env } from './app.ts'
import { isRefusal } from './methods.ts'
import { createRateLimits } from './rate-limit.ts'

export interface GuardDeps {
  readonly authenticator: Authenticator
  readonly rates: { readonly perKey: Rate | undefined; readonly perAddress: Rate | undefined }
  /** Whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly Network[]
  readonly invocations: Invocations
  readonly findSpec: (functionName: string) => FunctionSpec | undefined
  readonly logger: Logger
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** Has every route of `ACCESS` ask who calls, and let in only who may. To be called before the routes are mounted. */
export function mountGuards(app: OpenAPIHono<Env>, deps: GuardDeps): void {
  const guard = createGuard(deps)
  for (const [route, access] of Object.entries(ACCESS)) {
    const [method = '', path = ''] = route.split(' ')
    app.on(method, toPattern(path), guard(access))
  }
}

/** Throws if a route is mounted that `ACCESS` does not know: it would be open to everyone. */
export function checkGuards(app: OpenAPIHono<Env>): void {
  const unknown = app.routes
    .filter(({ method, path, handler }) =>
      method === 'ALL' ? path !== '/*' && !isRefusal(handler) : !(toKey(method, path) in ACCESS),
    )
    .map(({ method, path }) => toKey(method, path))
  if (unknown.length > 0) throw new Error(`http/access.ts has no entry of ${unknown.join(', ')}`)
}

function toKey(method: string, pattern: string): string {
  return `${method} ${toPath(pattern)}`
}

/** The longest name or path of a request that the log tells, in characters. */
const MAX_TOLD = 200

/** What the path names. */
function targetOf(c: Context<Env>): Record<string, string> {
  const named = Object.entries(c.req.param() as Record<string, string>)
  return Object.fromEntries(named.map(([key, value]) => [key, value.slice(0, MAX_TOLD)]))
}

/** There can be one (RFC 9110, 11.6.2): of two, whoever stands in front may have looked at the other. */
function readAuthorization({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const { authorization } = headers
  if (authorization === undefined) return undefined
  const isName = (text: string, index: number) =>
    index % 2 === 0 && text.toLowerCase() === 'authorization'
  if (rawHeaders.filter(isName).length > 1) throw new Unauthorized('malformed')
  return authorization
}

type Guard = (access: Access) => MiddlewareHandler<Env>

function createGuard(deps: GuardDeps): Guard {
  const { authenticator, rates, trustedProxies, invocations, findSpec, logger, clock } = deps
  const limits = createRateLimits({ ...rates, clock })

  const addressOf = ({ env: { incoming } }: Context<Env>): string => {
    const forwarded = incoming.headers['x-forwarded-for']
    const text = Array.isArray(forwarded) ? forwarded.join() : forwarded
    return findClient(incoming.socket.remoteAddress, text, trustedProxies) ?? 'unknown'
  }

  /** What the log tells of a request. Never a header: credentials are there. */
  const describe = (c: Context<Env>) => ({
    method: c.req.method,
    path: c.req.path.slice(0, MAX_TOLD),
    address: addressOf(c),
    callId: c.get('callId'),
  })

  async function identify(c: Context<Env>, { right, unlimited }: Access): Promise<Caller> {
    const { incoming, outgoing } = c.env
    if (unlimited) return ANONYMOUS
    const count = () => limits.byAddress(addressOf(c), outgoing)
    // What it may hold is meant for the webhook.
    if (right === 'signed') {
      c.set('address', addressOf(c))
      await count()
      return ANONYMOUS
    }
    let caller: Caller
    try {
      caller = await authenticator.authenticate(readAuthorization(incoming))
    } catch (error) {
      await count()
      if (right === 'open') return ANONYMOUS
      throw error
    }
    if (caller.kind === 'anonymous') await count()
    else if (caller.kind !== 'anyone') await limits.byCaller(caller, outgoing)
    return caller
  }

  /** Why not; undefined if he may. */
  async function findLack(c: Context<Env>, { right }: Access, caller: Caller): Promise<Lack> {
    switch (right) {
      case 'open':
      case 'signed':
        return undefined
      case 'read':
      case 'deploy':
      case 'admin':
        return lackOf(caller, right)
      case 'functions':
        return lackOf(caller, 'read') && lackOf(caller, 'deploy')
      case 'invoke': {
        const name = c.req.param('name') ?? ''
        // What no function can be called must not get into a header.
        const need = { invoke: FUNCTION_NAME.test(name) ? name : '*' }
        const lack = allows(caller, { invoke: name }) ? undefined : showNeed(need)
        return lack && findSpec(name)?.isPublic ? undefined : lack
      }
      case 'invocation':
        if (allows(caller, 'read')) return undefined
        return (await mayInvoke(c, caller)) ? undefined : 'read'
      case 'invocation-change':
        return (await mayInvoke(c, caller)) ? undefined : 'invoke:*'
    }
  }

  /** False as well if there is no such invocation: who may not see it learns nothing of it. */
  async function mayInvoke(c: Context<Env>, caller: Caller): Promise<boolean> {
    if (allows(caller, 'admin')) return true
    if (!caller.scopes.some((scope) => scope.startsWith('invoke:'))) return false
    try {
      const { functionName } = await invocations.get(c.req.param('id') ?? '')
      return allows(caller, { invoke: functionName })
    } catch (error) {
      if (error instanceof OneshotError && error.code === 'invocation_not_found') return false
      throw error
    }
  }

  function tellRefused(c: Context<Env>, { audit }: Access, about: object): void {
    const told = { ...(audit !== undefined && { audit, target: targetOf(c) }), ...about }
    logger.warn({ ...told, ...describe(c) }, audit === undefined ? 'refused' : 'change denied')
  }

  return (access) => async (c, next) => {
    let caller: Caller
    try {
      caller = await identify(c, access)
    } catch (error) {
      if (error instanceof Unauthorized) tellRefused(c, access, { reason: error.reason })
      throw error
    }
    const lack = await findLack(c, access, caller)
    if (lack !== undefined) {
      const { kind, name } = caller
      // Who only comes by without credentials is not worth a line.
      const isNews = kind !== 'anonymous' || access.audit !== undefined
      if (isNews) tellRefused(c, access, { caller: { kind, name }, lack })
      if (kind === 'anonymous') throw new Unauthorized('missing')
      c.header(
        'WWW-Authenticate',
        `Bearer realm="oneshot", error="insufficient_scope", scope="${lack}"`,
      )
      const detail = `This takes the scope ${lack}, which your key or token does not have: use another one.`
      throw new OneshotError('forbidden', detail)
    }
    c.set('caller', caller)
    await next()
    // Also if its client went away before it had all been said: then there is no answer whose status would tell.
    if (access.audit === undefined || c.error !== undefined) return
    const { outgoing } = c.env
    const status = outgoing.headersSent ? outgoing.statusCode : c.res.status
    if (status >= 400) return
    const { kind, name } = caller
    const { audit } = access
    const { address, callId } = describe(c)
    const target = targetOf(c)
    logger.info({ audit, caller: { kind, name }, address, target, callId, status }, 'changed')
  }
}

/** The scope that a caller would need. */
type Lack = string | undefined

function lackOf(caller: Caller, need: Need): Lack {
  return allows(caller, need) ? undefined : showNeed(need)
}
