import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { OneshotError } from '../core/error.ts'
import type { Env } from './app.ts'

const refusals = new WeakSet<object>()

/** Answers what else comes to `path` 405. To be called after the path's own methods are there. */
export function refuseOtherMethods(app: OpenAPIHono<Env>, path: string, allowed: string): void {
  const refuse = (c: Context<Env>): never => {
    c.header('Allow', allowed)
    const detail = `There is no ${c.req.method} ${c.req.path}: it takes ${allowed}.`
    throw new OneshotError('method_not_allowed', detail)
  }
  refusals.add(refuse)
  app.all(path, refuse)
}

/** Whether a handler does nothing but refuse, so that anyone may reach it. */
export function isRefusal(handler: object): boolean {
  return refusals.has(handler)
}
