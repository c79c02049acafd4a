import type { ServerResponse } from 'node:http'
import type { MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { CALL_ID, DURATION, INVOCATION, STATE, TRUNCATED, EXIT_CODE } from './answer.ts'
import type { Env } from './app.ts'

/** After OWASP's REST Security Cheat Sheet: an answer is data, whatever its bytes look like. */
const HEADERS = [
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'no-referrer'],
  ['X-Frame-Options', 'DENY'],
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Cache-Control', 'no-store'],
] as const

const EXPOSED = [CALL_ID, INVOCATION, STATE, EXIT_CODE, TRUNCATED, DURATION]
const PREFLIGHT_SECONDS = 600

/** Before anything else, so that answers have them which handlers write themselves. A handler may say otherwise. */
export function harden(outgoing: ServerResponse): void {
  for (const [name, value] of HEADERS) outgoing.setHeader(name, value)
}

/** Lets the pages of these origins send requests and read the answers (Fetch Standard, 3.3); no others may. */
export function allowOrigins(origins: readonly string[]): MiddlewareHandler<Env> {
  const answer = cors({
    origin: [...origins],
    exposeHeaders: [...EXPOSED, 'Location', 'Retry-After'],
    maxAge: PREFLIGHT_SECONDS,
  })
  return async (c, next) => {
    const { outgoing } = c.env
    outgoing.setHeader('Vary', 'Origin')
    const origin = c.req.header('Origin')
    const isPreflight = c.req.header('Access-Control-Request-Method') !== undefined
    const isMeant = c.req.method !== 'OPTIONS' || isPreflight
    if (origin === undefined || !origins.includes(origin) || !isMeant) return next()
    return answer(c, async () => {
      for (const [name, value] of c.res.headers) {
        if (name.startsWith('access-control-')) outgoing.setHeader(name, value)
      }
      await next()
    })
  }
}
