import { expect, test } from 'vitest'
import type { ScheduleStatus } from '../../src/gateway/schedule.ts'
import { cron, every, schedule } from '../gateway/scheduling.ts'
import { getJson } from './asynchronous.ts'
import { serve } from './serve.ts'
import { createMetrics } from '../../src/gateway/metrics.ts'

test('schedules are listed, each with its last and next runs; one function alone on request', async () => {
  const nightly: ScheduleStatus = {
    functionName: 'build',
    trigger: schedule(cron('0 3 * * *', 'Europe/Berlin'), { overlap: 'skip' }),
    lastTick: 1000,
    lastInvocation: { id: 'id', state: 'running' },
    nextTicks: [2000, 3000],
    problems: [],
  }
  const poll: ScheduleStatus = {
    functionName: 'poll',
    trigger: schedule(every(300_000), { name: 'poll', catchUp: 'none', body: 'a secret' }),
    nextTicks: [],
    problems: ["The function's definition is broken."],
  }
  const all = [nightly, poll]
  const { url } = await serve(
    {},
    {
      listSchedules: (name) =>
        Promise.resolve(all.filter((it) => name === undefined || it.functionName === name)),
    },
  )
  const told = {
    function: 'build',
    name: 'nightly',
    cron: '0 3 * * *',
    timezone: 'Europe/Berlin',
    overlap: 'skip',
    catchUp: 'once',
    maxLatenessMs: 3_600_000,
    lastTick: '1970-01-01T00:00:01.000Z',
    lastInvocation: { id: 'id', state: 'running' },
    nextRuns: ['1970-01-01T00:00:02.000Z', '1970-01-01T00:00:03.000Z'],
    problems: [],
  }
  expect(await getJson(`${url}/schedules`)).toEqual({
    schedules: [
      told,
      {
        function: 'poll',
        name: 'poll',
        everyMs: 300_000,
        overlap: 'queue',
        catchUp: 'none',
        maxLatenessMs: 3_600_000,
        nextRuns: [],
        problems: poll.problems,
      },
    ],
  })
  expect(await getJson(`${url}/schedules?function=build`)).toEqual({ schedules: [told] })
  expect((await fetch(`${url}/schedules`, { method: 'POST' })).status).toBe(405)
})

test('ticks are counted by function and outcome', async () => {
  const counts = { running: 0, waiting: 0 }
  const metrics = createMetrics({
    engine: { armed: () => [] },
    admission: { counts: () => counts },
  })
  for (const outcome of ['accepted', 'missed', 'accepted'] as const) metrics.ticked('f', outcome)
  const { text } = await metrics.render()
  expect(text).toContain('oneshot_schedule_ticks_total{function="f",outcome="accepted"} 2')
  expect(text).toContain('oneshot_schedule_ticks_total{function="f",outcome="missed"} 1')
})
