import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ErrorCode } from '../../src/core/error.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { Retries } from '../../src/core/retry.ts'
import { DEFAULT_RETRIES, findRetryDelay } from '../../src/core/retry.ts'

const lost: Outcome = { reason: 'lost', exitCode: null }
const exited = (exitCode: number): Outcome => ({ reason: 'exited', exitCode })
const notStarted = (code: ErrorCode): Outcome => ({
  reason: 'not_started',
  exitCode: null,
  failure: { code, detail: '' },
})
const steady: Retries = { ...DEFAULT_RETRIES, jitter: 0 }

const delayAfter = (outcome: Outcome, retries: Partial<Retries> = {}, attempts = 1) =>
  findRetryDelay({ ...steady, ...retries }, attempts, outcome, 0.5)

test.each<[string, Outcome]>([
  ['that was lost', lost],
  ['whose engine went away', notStarted('engine_unreachable')],
  ['whose engine failed', notStarted('engine_failed')],
  ['whose image could not be pulled', notStarted('image_pull_failed')],
  ['that found no room', notStarted('unschedulable')],
])('a call %s is run again', (_, outcome) => {
  expect(delayAfter(outcome)).toBe(1000)
})

test.each<[string, Outcome]>([
  ['that has succeeded', exited(0)],
  ['whose command failed', exited(1)],
  ['whose command was killed for its memory', { reason: 'oom_killed', exitCode: 137 }],
  ['that timed out', { reason: 'timed_out', exitCode: 137 }],
  ['that was cancelled', { reason: 'cancelled', exitCode: 137 }],
  ['whose image is not there', notStarted('image_not_found')],
  ['whose command is not there', notStarted('command_not_found')],
  ['that came too late', notStarted('expired')],
  ['whose input is too large for the engine', notStarted('input_too_large')],
  ['whose engine has no stdin for it', notStarted('stdin_unsupported')],
])('a call %s is not run again', (_, outcome) => {
  expect(delayAfter(outcome)).toBeUndefined()
})

test('exit codes that the definition names are worth another attempt, and no others', () => {
  const onExit = [3, 137]
  expect(delayAfter(exited(3), { onExit })).toBe(1000)
  expect(delayAfter({ reason: 'oom_killed', exitCode: 137 }, { onExit })).toBe(1000)
  expect(delayAfter(exited(4), { onExit })).toBeUndefined()
  expect(delayAfter(exited(0), { onExit: [0] })).toBeUndefined()
})

test('any exit code but 0 is worth another attempt if the definition says so', () => {
  expect(delayAfter(exited(255), { onExit: 'any' })).toBe(1000)
  expect(delayAfter(exited(0), { onExit: 'any' })).toBeUndefined()
})

test('a timeout is worth another attempt if the definition says so, a cancel never', () => {
  const all: Partial<Retries> = { onTimeout: true, onExit: 'any' }
  expect(delayAfter({ reason: 'timed_out', exitCode: null }, all)).toBe(1000)
  expect(delayAfter({ reason: 'cancelled', exitCode: 1 }, all)).toBeUndefined()
})

test('delays grow by the factor up to the longest, for as many attempts as there may be', () => {
  const retries = { max: 5, minDelayMs: 100, maxDelayMs: 2000, factor: 3 }
  const delays = [1, 2, 3, 4, 5, 6].map((attempts) => delayAfter(lost, retries, attempts))
  expect(delays).toEqual([100, 300, 900, 2000, 2000, undefined])
})

test('without retries the first attempt is the last', () => {
  expect(delayAfter(lost, { max: 0 })).toBeUndefined()
})

test('by default there are three, after about 1, 2 and 4 seconds', () => {
  const delay = (attempts: number, random: number) =>
    findRetryDelay(DEFAULT_RETRIES, attempts, lost, random)
  expect([1, 2, 3, 4].map((attempts) => delay(attempts, 0.5))).toEqual([
    1000,
    2000,
    4000,
    undefined,
  ])
  expect([delay(1, 0), delay(1, 1)]).toEqual([800, 1200])
})

test('a delay is a whole number of milliseconds, off by the jitter at most', () => {
  const retries = fc.record({
    max: fc.constant(100),
    minDelayMs: fc.nat(1e9),
    maxDelayMs: fc.nat(2e9),
    factor: fc.double({ min: 1, max: 100, noNaN: true }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    onExit: fc.constant([]),
    onTimeout: fc.constant(false),
  })
  const unit = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(retries, fc.integer({ min: 1, max: 100 }), unit, (given, attempts, random) => {
      const delay = findRetryDelay(given, attempts, lost, random)
      expect(Number.isSafeInteger(delay)).toBe(true)
      expect(delay).toBeGreaterThanOrEqual(0)
      expect(delay).toBeLessThanOrEqual(Math.ceil(given.maxDelayMs * (1 + given.jitter)))
    }),
  )
})
