import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkCron, lastTick, nextTick, toFingerprint } from '../../src/core/schedule.ts'
import type { ScheduleTiming } from '../../src/core/trigger.ts'

const cron = (expression: string, timezone = 'UTC'): ScheduleTiming => ({
  kind: 'cron',
  expression,
  timezone,
})

function walk(timing: ScheduleTiming, from: string, count: number): string[] {
  const ticks: number[] = []
  for (let time = Date.parse(from); ticks.length < count; time = ticks.at(-1)!) {
    ticks.push(nextTick(timing, time)!)
  }
  // What is found step by step is found again from behind.
  for (const [index, tick] of ticks.entries()) {
    const before = ticks[index - 1] ?? Date.parse(from)
    expect(lastTick(timing, before, tick)).toBe(tick)
    expect(lastTick(timing, before, tick + 999)).toBe(tick)
    expect(lastTick(timing, before, tick - 1)).toBeUndefined()
  }
  return ticks.map((tick) => new Date(tick).toISOString().slice(5, 16).replace('T', ' '))
}

describe('an expression', () => {
  test.each([
    '0 3 * * *',
    '*/10 * * * * *',
    '0 9-17 * * MON-FRI',
    '0 0 L * *',
    '0 0 29 2 *',
    '0 12 * * FRI#2',
    '@hourly',
    '@daily',
    '@midnight',
    '@weekly',
    '@monthly',
    '@yearly',
    '  0  3 * * * ',
  ])('%s is taken', (expression) => {
    expect(checkCron(expression, 'Europe/Berlin')).toBeUndefined()
  })

  test.each([
    ['', /^expected minute, hour,/],
    ['* * * *', /^expected minute, hour,/],
    ['* * * * * * 2027', /^expected minute, hour,/],
    ['60 * * * *', /Invalid value for minute: 60$/],
    ['0 24 * * *', /Invalid value for hour: 24$/],
    ['5-1 * * * *', /larger/],
    ['*/0 * * * *', /^expected minute/],
    ['H * * * *', /illegal/],
    ['@reboot', /^expected minute/],
    ['@every 5m', /^expected minute/],
    ['2027-01-01T00:00:00', /^expected minute/],
    ['0 0 30 2 *', /no such day/],
    ['0 0 31 4,6,9,11 *', /no such day/],
    [`${'0,'.repeat(200)}0 * * * *`, /at most 256/],
  ])('%s is refused', (expression, problem) => {
    expect(checkCron(expression, 'UTC')).toMatch(problem)
  })

  test.each(['Europe/Nowhere', '', 'local', ' UTC'])('the zone "%s" is refused', (timezone) => {
    expect(checkCron('0 3 * * *', timezone)).toMatch(/^expected a time zone/)
  })

  test('whatever it is, is refused or has a first tick that is also its last', () => {
    const field = fc.oneof(
      fc.constantFrom(
        '*',
        '*/2',
        '*/15',
        '0',
        '1-5',
        '7,9',
        'L',
        '?',
        '29',
        '30',
        '31',
        'MON',
        '2#3',
        '15W',
      ),
      fc.string({ maxLength: 4 }),
    )
    const expressions = fc.array(field, { minLength: 4, maxLength: 7 }).map((it) => it.join(' '))
    fc.assert(
      fc.property(expressions, (expression) => {
        if (checkCron(expression, 'America/New_York') !== undefined) return
        const timing = cron(expression, 'America/New_York')
        const after = Date.UTC(2026, 0, 1)
        const tick = nextTick(timing, after)!
        expect(tick).toBeGreaterThan(after)
        expect(lastTick(timing, after, tick)).toBe(tick)
      }),
      { numRuns: 300 },
    )
  })
})

describe('a time of day', () => {
  test.each([
    // 02:00 to 03:00 does not exist on 29 March in Berlin.
    [
      '30 2 * * *',
      'Europe/Berlin',
      '2026-03-28T00:00Z',
      ['03-28 01:30', '03-29 01:00', '03-30 00:30'],
    ],
    ['15,45 2 * * *', 'Europe/Berlin', '2026-03-28T02:00Z', ['03-29 01:00', '03-30 00:15']],
    ['*/15 2,3 * * *', 'Europe/Berlin', '2026-03-28T12:00Z', ['03-29 01:00', '03-29 01:15']],
    ['0 */2 * * *', 'Europe/Berlin', '2026-03-28T23:30Z', ['03-29 01:00', '03-29 02:00']],
    // It exists twice on 25 October.
    ['30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00Z', ['10-25 00:30', '10-26 01:30']],
    ['30 2 * * *', 'Europe/Berlin', '2026-10-25T01:10Z', ['10-26 01:30']],
    ['*/30 2,3 * * *', 'Europe/Berlin', '2026-10-25T00:00Z', ['10-25 00:30', '10-25 02:00']],
    ['0 */2 * * *', 'Europe/Berlin', '2026-10-24T22:30Z', ['10-25 00:00', '10-25 03:00']],
    ['30 2 * * *', 'America/New_York', '2026-03-07T12:00Z', ['03-08 07:00', '03-09 06:30']],
    ['30 1 * * *', 'America/New_York', '2026-11-01T00:00Z', ['11-01 05:30', '11-02 06:30']],
    // Half an hour.
    ['15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T00:00Z', ['10-03 15:30', '10-04 15:15']],
    ['45 1 * * *', 'Australia/Lord_Howe', '2026-04-04T00:00Z', ['04-04 14:45', '04-05 15:15']],
    // What is left out ends at midnight, on another day.
    ['30 23 * * *', 'America/Nuuk', '2026-03-28T12:00Z', ['03-29 01:00', '03-30 00:30']],
    ['30 2 * * *', 'Asia/Kolkata', '2026-03-28T00:00Z', ['03-28 21:00', '03-29 21:00']],
  ])('%s in %s comes once a day, from %s', (expression, timezone, from, ticks) => {
    expect(walk(cron(expression, timezone), from, ticks.length)).toEqual(ticks)
  })
})

describe('a pattern for every hour', () => {
  test.each([
    ['Europe/Berlin', '2026-03-29T00:00Z'],
    ['Europe/Berlin', '2026-10-25T00:00Z'],
    ['Australia/Lord_Howe', '2026-10-03T14:00Z'],
    ['Australia/Lord_Howe', '2026-04-04T14:00Z'],
    ['America/New_York', '2026-11-01T05:00Z'],
  ])('goes by the time that passes, in %s from %s', (timezone, from) => {
    const start = Date.parse(from)
    for (const [expression, ms, count] of [
      ['*/15 * * * *', 900_000, 20],
      ['* 0-23 * * *', 60_000, 150],
      ['*/30 * * * * *', 30_000, 250],
    ] as const) {
      const ticks = walk(cron(expression, timezone), from, count)
      const expected = ticks.map((_, index) =>
        new Date(start + (index + 1) * ms).toISOString().slice(5, 16).replace('T', ' '),
      )
      expect(ticks).toEqual(expected)
    }
  })
})

test('every: at the multiples since the epoch', () => {
  const timing: ScheduleTiming = { kind: 'every', everyMs: 7000 }
  expect(nextTick(timing, 0)).toBe(7000)
  expect(nextTick(timing, 6999)).toBe(7000)
  expect(nextTick(timing, 7000)).toBe(14_000)
  expect(lastTick(timing, 0, 6999)).toBeUndefined()
  expect(lastTick(timing, 0, 30_000)).toBe(28_000)
  expect(lastTick(timing, 28_000, 30_000)).toBeUndefined()
})

test('the last tick is what walking from tick to tick comes to, and ticks only grow', () => {
  const timings = fc.constantFrom(
    cron('30 2 * * *', 'Europe/Berlin'),
    cron('*/20 1-3 * * *', 'Europe/Berlin'),
    cron('0 */3 * * SUN', 'America/New_York'),
    cron('*/15 * * * *', 'Australia/Lord_Howe'),
    cron('10,50 1,2 * 4,10 *', 'Australia/Lord_Howe'),
    cron('0 23 L * *', 'America/Nuuk'),
    cron('59 59 0,12 * * *', 'Pacific/Chatham'),
    { kind: 'every', everyMs: 11 * 60_000 } as const,
  )
  // The days of the changes more often than others.
  const days = fc.oneof(
    fc.constantFrom(
      '2026-03-28',
      '2026-10-24',
      '2026-04-04',
      '2026-10-03',
      '2026-03-07',
      '2026-10-31',
    ),
    fc
      .integer({ min: 0, max: 364 })
      .map((day) => new Date(Date.UTC(2026, 0, 1 + day)).toISOString()),
  )
  const hours = (max: number) => fc.integer({ min: 0, max: max * 3_600_000 })
  fc.assert(
    fc.property(timings, days, hours(24), hours(48), (timing, day, offset, length) => {
      const after = Date.parse(day) + offset
      const until = after + length
      let walked: number | undefined
      for (let tick = nextTick(timing, after); tick !== undefined && tick <= until;) {
        expect(tick).toBeGreaterThan(walked ?? after)
        walked = tick
        tick = nextTick(timing, tick)
      }
      expect(lastTick(timing, after, until)).toBe(walked)
    }),
    { numRuns: 200 },
  )
})

test('what was missed in a year of every second is found at once', () => {
  const timing = cron('* * * * * *', 'Europe/Berlin')
  const started = performance.now()
  const until = Date.UTC(2027, 0, 1)
  expect(lastTick(timing, Date.UTC(2026, 0, 1), until)).toBe(until)
  expect(performance.now() - started).toBeLessThan(1000)
})

test('another timing has another fingerprint; spaces make none', () => {
  const timings = [
    cron('0 3 * * *'),
    cron('0 4 * * *'),
    cron('0 3 * * *', 'Europe/Berlin'),
    { kind: 'every', everyMs: 3000 } as const,
  ]
  expect(new Set(timings.map(toFingerprint)).size).toBe(timings.length)
  expect(toFingerprint(cron(' 0  3 * * * '))).toBe(toFingerprint(cron('0 3 * * *')))
})
