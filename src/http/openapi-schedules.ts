import { createRoute, z } from '@hono/zod-openapi'
import { InvocationStatus } from './openapi-invocations.ts'
import { json } from './openapi.ts'

const Time = z.iso.datetime()

/** A schedule, and how far it has come. */
export const ScheduleStatus = z
  .object({
    function: z.string(),
    name: z.string(),
    cron: z.string().optional(),
    timezone: z.string().optional().meta({ description: 'Of `cron`' }),
    everyMs: z.number().optional().meta({ description: 'Instead of `cron`' }),
    overlap: z.enum(['skip', 'queue', 'replace']),
    catchUp: z.enum(['once', 'none']),
    maxLatenessMs: z.number(),
    lastTick: Time.optional().meta({
      description: 'The latest that was dealt with: run, dropped or missed',
    }),
    lastInvocation: z
      .object({ id: z.string(), state: InvocationStatus.shape.state.optional() })
      .optional()
      .meta({ description: 'Without a state if it has been forgotten' }),
    nextRuns: z.array(Time).meta({ description: 'The next five' }),
    problems: z.array(z.string()).meta({ description: 'What keeps it from being run' }),
  })
  .meta({ id: 'Schedule' })

export const listSchedules = createRoute({
  method: 'get',
  path: '/schedules',
  summary: 'The schedules of the functions, each with its last and next runs',
  request: { query: z.object({ function: z.string().optional() }) },
  responses: {
    200: {
      description: 'By function and name',
      content: json(z.object({ schedules: z.array(ScheduleStatus) })),
    },
  },
})
