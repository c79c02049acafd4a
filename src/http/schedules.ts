import type { OpenAPIHono } from '@hono/zod-openapi'
import type { z } from '@hono/zod-openapi'
import type { Scheduler, ScheduleStatus } from '../gateway/schedule.ts'
import type { Env } from './app.ts'
import { toTime } from './invocations.ts'
import { refuseOtherMethods } from './methods.ts'
import type { ScheduleStatus as Status } from './openapi-schedules.ts'
import { listSchedules } from './openapi-schedules.ts'

export interface SchedulesRouteDeps {
  readonly listSchedules: Scheduler['list']
}

/** `GET /schedules`. */
export function mountSchedules(app: OpenAPIHono<Env>, deps: SchedulesRouteDeps): void {
  app.openapi(listSchedules, async (c) => {
    const schedules = await deps.listSchedules(c.req.valid('query').function)
    return c.json({ schedules: schedules.map(toStatus) }, 200)
  })
  refuseOtherMethods(app, '/schedules', 'GET, HEAD')
}

function toStatus(status: ScheduleStatus): z.infer<typeof Status> {
  const { functionName, trigger, lastTick, lastInvocation, nextTicks, problems } = status
  const { name, timing, overlap, catchUp, maxLatenessMs } = trigger
  return {
    function: functionName,
    name,
    ...(timing.kind === 'cron'
      ? { cron: timing.expression, timezone: timing.timezone }
      : { everyMs: timing.everyMs }),
    overlap,
    catchUp,
    maxLatenessMs,
    ...(lastTick !== undefined && { lastTick: toTime(lastTick) }),
    ...(lastInvocation && { lastInvocation }),
    nextRuns: nextTicks.map(toTime),
    problems: [...problems],
  }
}
