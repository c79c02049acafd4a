import { buffer } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import type { FunctionSpec } from '../../src/core/function.ts'
import { functionSpec } from '../function-spec.ts'
import { makeFolder } from '../store/fixtures.ts'
import {
  at,
  cron,
  every,
  HOUR_MS,
  hourly,
  MINUTE_MS,
  schedule,
  scheduled,
  START,
  startScheduling,
} from './scheduling.ts'
import { exited, rest } from './working.ts'

/** One process, another one after `goneMs`, and how far that one has come by itself. */
async function restart(spec: FunctionSpec, goneMs: number) {
  const folder = await makeFolder()
  const first = await startScheduling([spec], { folder })
  await first.pass(HOUR_MS)
  await first.end()
  first.time.set(first.time.clock() + goneMs)
  const second = await startScheduling([spec], { folder, time: first.time })
  await second.pass(0)
  return { first: first.ticks(), second, ticks: second.ticks() }
}

describe('a tick', () => {
  test('makes an invocation with the parameters, the body, and what tells of the schedule', async () => {
    const spec = functionSpec({
      name: 'build',
      parameters: { ref: { type: 'string' }, depth: { type: 'integer', default: 1 } },
      triggers: [schedule(cron('@hourly'), { parameters: { ref: 'main' }, body: 'grüße' })],
    })
    const { pass, next, store } = await startScheduling([spec], { runs: true })
    await pass(30 * MINUTE_MS)
    const { task, io } = await next()
    expect(task.container.environment).toMatchObject({
      ref: 'main',
      depth: '1',
      ONESHOT_TRIGGER: 'schedule',
      ONESHOT_SCHEDULE: 'nightly',
      ONESHOT_SCHEDULED_AT: at('01:00:00'),
    })
    expect((await buffer(io.stdin!)).toString()).toBe('grüße')
    expect(await store.invocations.find(task.invocationId)).toMatchObject({
      functionName: 'build',
      mode: 'async',
      labels: ['schedule:nightly'],
      trigger: { type: 'schedule', name: 'nightly' },
      group: { key: 'schedule:build/nightly', max: 1 },
    })
  })

  test('that a timer brings a little late is run, whatever catchUp and maxLateness say', async () => {
    const spec = hourly({ catchUp: 'none', maxLatenessMs: 0 })
    const { time, pass, ticks, outcomes } = await startScheduling([spec])
    await pass(30 * MINUTE_MS - 1)
    time.set(START + HOUR_MS + 4_000)
    await pass(1)
    expect(ticks()).toEqual([at('01:00:00')])
    expect(outcomes).toEqual(['f accepted'])
  })

  test('comes for each of many schedules, without any waiting for another', async () => {
    const triggers = Array.from({ length: 200 }, (_, index) =>
      schedule(cron(`${index % 60} * * * *`), { name: `n${index}` }),
    )
    const { pass, accepted } = await startScheduling([scheduled('f', ...triggers)])
    await pass(HOUR_MS - 1)
    expect(accepted).toHaveLength(200)
    for (const { at: tick, acceptedAt } of accepted) expect(acceptedAt).toBe(Date.parse(tick))
  })
})

describe('what was missed while no process ran', () => {
  const missed = { goneMs: 160 * MINUTE_MS, from: at('01:00:00') }

  test('is made up for once, for the latest, with catchUp: once', async () => {
    const { first, ticks, second } = await restart(hourly(), missed.goneMs)
    expect(first).toEqual([missed.from])
    expect(ticks).toEqual([at('04:00:00')])
    expect(second.outcomes).toEqual(['f accepted', 'f missed'])
    await second.pass(HOUR_MS)
    expect(second.ticks()).toEqual([at('04:00:00'), at('05:00:00')])
  })

  test('is not with catchUp: none', async () => {
    const { ticks, second } = await restart(hourly({ catchUp: 'none' }), missed.goneMs)
    expect(ticks).toEqual([])
    expect(second.outcomes).toEqual(['f missed'])
    await second.pass(HOUR_MS)
    expect(second.ticks()).toEqual([at('05:00:00')])
  })

  test('is not if it is later than maxLateness, and is if it is as late', async () => {
    const daily = (maxLatenessMs: number) =>
      scheduled('f', schedule(cron('0 2 * * *'), { maxLatenessMs }))
    const late = await restart(daily(HOUR_MS - 1), 90 * MINUTE_MS)
    expect(late.ticks).toEqual([])
    expect(late.second.outcomes).toEqual(['f missed'])
    expect((await restart(daily(HOUR_MS), 90 * MINUTE_MS)).ticks).toEqual([at('02:00:00')])
  })

  test('is run besides what is due by now', async () => {
    const spec = scheduled('f', schedule(every(10_000)))
    const { ticks } = await restart(spec, 12_000)
    expect(ticks).toEqual([at('01:30:10')])
    const later = await restart(spec, 21_000)
    expect(later.ticks).toEqual([at('01:30:10'), at('01:30:20')])
  })

  test('makes no new schedule run', async () => {
    const { pass, ticks } = await startScheduling([hourly()])
    await pass(29 * MINUTE_MS)
    expect(ticks()).toEqual([])
  })
})

describe('overlap', () => {
  test('skip: a tick makes none while the one before is under way', async () => {
    const spec = hourly({ overlap: 'skip' })
    const { pass, next, states, outcomes } = await startScheduling([spec], { runs: true })
    await pass(HOUR_MS)
    const first = await next()
    await pass(HOUR_MS)
    expect(outcomes).toEqual(['f accepted', 'f dropped'])
    first.end(exited())
    await rest()
    await pass(HOUR_MS)
    expect(await states()).toEqual(['succeeded', 'running'])
    expect(outcomes).toEqual(['f accepted', 'f dropped', 'f accepted'])
  })

  test('queue: a tick waits for the one before', async () => {
    const { pass, next, states } = await startScheduling([hourly()], { runs: true })
    await pass(HOUR_MS)
    const first = await next()
    await pass(HOUR_MS)
    await rest()
    expect(await states()).toEqual(['running', 'queued'])
    first.end(exited())
    const second = await next()
    expect(second.task.container.environment['ONESHOT_SCHEDULED_AT']).toBe(at('02:00:00'))
  })

  test('replace: a tick has the one before cancelled', async () => {
    const spec = hourly({ overlap: 'replace' })
    const { pass, next, states } = await startScheduling([spec], { runs: true })
    await pass(HOUR_MS)
    const first = await next()
    await pass(HOUR_MS)
    await rest()
    expect(first.stop.reason).toBe('cancelled')
    first.end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
    await next()
    expect(await states()).toEqual(['cancelled', 'running'])
  })
})

test('a scheduler that is closed takes no more ticks and leaves no timer', async () => {
  const { scheduler, pass, time, ticks } = await startScheduling([hourly()])
  await scheduler.close()
  expect(time.waiting()).toBe(0)
  scheduler.wake()
  await pass(HOUR_MS)
  expect(ticks()).toEqual([])
})

test('the list says what was last and what is next, with the state of the last invocation', async () => {
  const spec = scheduled('g', schedule(every(5 * MINUTE_MS), { name: 'often' }))
  const { scheduler, pass, next, ...gateway } = await startScheduling([hourly(), spec], {
    runs: true,
  })
  await pass(30 * MINUTE_MS)
  await next()
  const [first] = await scheduler.list('f')
  const [newest] = await gateway.store.invocations.list({ functionName: 'f' }, { limit: 1 })
  expect(first).toEqual({
    functionName: 'f',
    trigger: hourly().triggers[0],
    lastTick: START + HOUR_MS,
    lastInvocation: { id: newest!.id, state: expect.stringMatching(/queued|running/) as string },
    nextTicks: [2, 3, 4, 5, 6].map((hour) => START + hour * HOUR_MS),
    problems: [],
  })
  expect((await scheduler.list()).map((it) => it.functionName)).toEqual(['f', 'g'])
  expect(await scheduler.list('other')).toEqual([])
})
