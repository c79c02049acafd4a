import type { OpenAPIHono } from '@hono/zod-openapi'
import { OneshotError } from '../core/error.ts'
import type { Env } from './app.ts'

/** Answers what else comes to `path` 405. To be called after the path's own methods are there. */
export function refuseOtherMethods(app: OpenAPIHono<Env>, path: string, allowed: string): void {
  app.all(path, (c) => {
    c.header('Allow', allowed)
    const detail = `There is no ${c.req.method} ${c.req.path}: it takes ${allowed}.`
    throw new OneshotError('method_not_allowed', detail)
  })
}
