import type { MiddlewareHandler } from 'hono'
import { isLoopback } from '../core/address.ts'
import { OneshotError } from '../core/error.ts'
import type { Env } from './app.ts'

const HARMLESS = new Set(['GET', 'HEAD', 'OPTIONS'])

export interface OriginOptions {
  /** Where the gateway listens. */
  readonly host: string
  /** Of pages that may send requests. */
  readonly corsOrigins: readonly string[]
}

/**
 * Where nobody has to say who he is, any page in a browser on this machine could call: a request that one has sent is refused, and so is one to a name that
 * was made to lead here (DNS rebinding). Other clients send neither an Origin nor Sec-Fetch-Site, and notice nothing.
 */
export function refuseForeignPages({ host, corsOrigins }: OriginOptions): MiddlewareHandler<Env> {
  const own = toName(host)
  const isLocal = isLoopback(host)

  /** The last that was: most requests name the same. */
  let known: string | undefined

  function isOurs(authority: string): boolean {
    if (authority === known || !isLocal) return true
    const name = toHostname(authority)
    if (!isLoopback(name) && toName(name) !== own) return false
    known = authority
    return true
  }

  return async (c, next) => {
    // A webhook's sender shows by its signature who it is; a tunnel may bring it here, under a name of its own.
    if (c.req.path.startsWith('/hook/')) return next()
    const { headers } = c.env.incoming
    const { host: named } = headers
    if (named !== undefined && !isOurs(named)) {
      const detail =
        'Without keys only requests to a loopback address are answered, such as http://127.0.0.1: call that, or set ONESHOT_API_KEYS_FILE.'
      throw new OneshotError('origin_refused', detail)
    }
    if (!HARMLESS.has(c.req.method) && isForeign(headers.origin, named)) {
      throw refused()
    }
    const site = headers['sec-fetch-site']
    const isAllowed = headers.origin !== undefined && corsOrigins.includes(headers.origin)
    if (!HARMLESS.has(c.req.method) && site === 'cross-site' && !isAllowed) throw refused()
    return next()
  }

  function isForeign(origin: string | undefined, named: string | undefined): boolean {
    if (origin === undefined || corsOrigins.includes(origin)) return false
    return URL.parse(origin)?.host !== named?.toLowerCase()
  }
}

function refused(): OneshotError {
  const detail =
    'A web page must not send this while no keys are needed: allow its origin in ONESHOT_CORS_ORIGINS, or set ONESHOT_API_KEYS_FILE.'
  return new OneshotError('origin_refused', detail)
}

/** Of `host:port`. */
function toHostname(authority: string): string {
  return URL.parse(`http://${authority}`)?.hostname ?? authority
}

function toName(host: string): string {
  return host.replace(/^\[|\]$/g, '').toLowerCase()
}
