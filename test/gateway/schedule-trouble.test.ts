import { describe, expect, test } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { functionSpec } from '../function-spec.ts'
import { makeFolder } from '../store/fixtures.ts'
import {
  at,
  broken,
  createTime,
  cron,
  every,
  HOUR_MS,
  hourly,
  MINUTE_MS,
  ready,
  schedule,
  scheduled,
  START,
  startScheduling,
} from './scheduling.ts'

describe('the clock', () => {
  test('set back repeats no tick', async () => {
    const { time, pass, ticks, scheduler } = await startScheduling([hourly()])
    await pass(2 * HOUR_MS)
    time.set(START + 45 * MINUTE_MS)
    await pass(2 * HOUR_MS)
    expect(ticks()).toEqual([at('01:00:00'), at('02:00:00')])
    const [status] = await scheduler.list()
    expect(status!.problems).toEqual([])
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('01:00:00'), at('02:00:00'), at('03:00:00')])
  })

  test('set back by much is told of', async () => {
    const { time, pass, ticks, scheduler } = await startScheduling([hourly()])
    await pass(2 * HOUR_MS)
    time.set(START - 24 * HOUR_MS)
    await pass(HOUR_MS)
    expect(ticks()).toHaveLength(2)
    const [status] = await scheduler.list()
    expect(status!.problems).toEqual([expect.stringMatching(/^The clock was ahead: .*02:00:00/)])
  })

  test('that was ahead when a schedule began does not hold it back', async () => {
    const { time, pass, ticks } = await startScheduling([hourly()], {
      time: createTime(START + 365 * 24 * HOUR_MS + MINUTE_MS),
    })
    time.set(START + 30 * MINUTE_MS)
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('01:00:00')])
  })

  test('put forward, as by a machine that was suspended, is noticed soon', async () => {
    const { time, pass, ticks } = await startScheduling([hourly()])
    time.set(START + HOUR_MS + 20 * MINUTE_MS)
    await pass(MINUTE_MS)
    expect(ticks()).toEqual([at('01:00:00')])
  })
})

describe('a definition', () => {
  test('that is new, changed or removed is followed', async () => {
    const { pass, define, ticks, scheduler } = await startScheduling([])
    await define(ready(hourly()))
    await pass(HOUR_MS)
    await define(ready(scheduled('f', schedule(cron('15 * * * *')))))
    await pass(HOUR_MS)
    await define()
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('01:00:00'), at('02:15:00')])
    expect(await scheduler.list()).toEqual([])
  })

  test('that comes again after its removal begins anew', async () => {
    const { pass, define, ticks } = await startScheduling([hourly()])
    await pass(HOUR_MS)
    await define()
    await pass(HOUR_MS)
    await define(ready(hourly()))
    await pass(0)
    expect(ticks()).toEqual([at('01:00:00')])
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('01:00:00'), at('03:00:00')])
  })

  test('changed in anything but its timing goes on with what it says now', async () => {
    const { pass, define, ticks, store } = await startScheduling([hourly()])
    await pass(HOUR_MS)
    const spec = functionSpec({
      name: 'f',
      parameters: { ref: { type: 'string' } },
      triggers: [schedule(cron('@hourly'), { parameters: { ref: 'other' } })],
    })
    await define(ready(spec))
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('01:00:00'), at('02:00:00')])
    const [newest] = await store.invocations.list({}, { limit: 1 })
    expect((await store.invocations.find(newest!.id))?.parameters).toEqual({ ref: 'other' })
  })

  test('that is broken is passed over with a warning, and ticks again once it is mended', async () => {
    const { pass, define, ticks, outcomes, logs, scheduler } = await startScheduling([hourly()])
    await define(broken('f'))
    await pass(HOUR_MS)
    const [status] = await scheduler.list()
    expect(status).toMatchObject({
      nextTicks: [],
      problems: ["The function's definition is broken."],
    })
    await define(ready(hourly()))
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('02:00:00')])
    expect(outcomes).toEqual(['f missed', 'f accepted'])
    expect(logs.find(({ level }) => level === 40)).toMatchObject({
      schedule: 'f/nightly',
      reason: "the function's definition is broken",
    })
  })

  test('that is replaced while a tick is on its way keeps the record of what replaces it', async () => {
    const { before, pass, define, time, store, scheduler } = await startScheduling([hourly()])
    const replacing = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    before(() => {
      begun.resolve()
      return replacing.promise
    })
    const passing = pass(30 * MINUTE_MS)
    await begun.promise
    time.set(time.clock() + 1)
    const defining = define(ready(scheduled('f', schedule(every(7 * MINUTE_MS)))))
    await expect
      .poll(() => store.schedules.find('f/nightly'))
      .toMatchObject({ fingerprint: 'every 420000' })
    before(() => {})
    replacing.resolve()
    await Promise.all([passing, defining])
    await scheduler.idle()
    expect(await store.schedules.find('f/nightly')).toMatchObject({ fingerprint: 'every 420000' })
  })

  test('whose parameters are wrong does not hold up the others', async () => {
    const wrong = scheduled('wrong', schedule(cron('@hourly'), { parameters: { no: 1 } }))
    const { pass, accepted, outcomes } = await startScheduling([wrong, hourly()])
    await pass(HOUR_MS)
    expect(accepted.map(({ id }) => id)).toEqual(['f/nightly'])
    expect(outcomes.sort()).toEqual(['f accepted', 'wrong missed'])
  })
})

describe('a tick that can not be accepted', () => {
  const full = () => {
    throw new OneshotError('queue_full', 'Too many wait.')
  }

  test('is tried again until there is room, with catchUp: none too', async () => {
    const { before, pass, accepted, scheduler, outcomes } = await startScheduling([
      hourly({ catchUp: 'none' }),
    ])
    before(full)
    await pass(40 * MINUTE_MS)
    const [status] = await scheduler.list()
    expect(status!.problems).toEqual(['It is tried again: Too many wait.'])
    before(() => {})
    await pass(MINUTE_MS)
    expect(accepted).toMatchObject([{ at: at('01:00:00') }])
    expect(outcomes).toEqual(['f accepted'])
    expect((await scheduler.list())[0]!.problems).toEqual([])
  })

  test('is missed once it is later than maxLateness', async () => {
    const { before, pass, ticks, outcomes, logs } = await startScheduling([
      hourly({ maxLatenessMs: 10 * MINUTE_MS }),
    ])
    before(full)
    await pass(45 * MINUTE_MS)
    before(() => {})
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('02:00:00')])
    expect(outcomes).toEqual(['f missed', 'f accepted'])
    expect(logs).toContainEqual(expect.objectContaining({ reason: 'Too many wait.' }))
  })

  test('because of a fault is tried again, and the fault is logged', async () => {
    const { before, pass, ticks, logs } = await startScheduling([hourly()])
    let tries = 0
    before(() => {
      tries += 1
      if (tries < 3) throw new Error('disk on fire')
    })
    await pass(HOUR_MS)
    expect(ticks()).toEqual([at('01:00:00')])
    expect(logs.filter(({ level }) => level === 40)).toMatchObject([
      { err: { message: 'disk on fire' } },
      { err: { message: 'disk on fire' } },
    ])
  })

  test('as the gateway shuts down is left to the next process', async () => {
    const folder = await makeFolder()
    const first = await startScheduling([hourly()], { folder })
    first.gateway.close(0).catch(() => {})
    await first.pass(31 * MINUTE_MS)
    expect(first.outcomes).toEqual([])
    await first.end()
    const { time } = first
    time.forget()
    const second = await startScheduling([hourly()], { folder, time })
    await second.pass(0)
    expect(second.ticks()).toEqual([at('01:00:00')])
  })
})
