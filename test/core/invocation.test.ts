import { describe, expect, test } from 'vitest'
import type { Invocation } from '../../src/core/invocation.ts'
import {
  inputDelivered,
  isSettled,
  placed,
  queued,
  requeued,
  returned,
  running,
  settled,
  toState,
} from '../../src/core/invocation.ts'
import type { Outcome, TaskEnd, TaskResult } from '../../src/core/outcome.ts'
import type { TaskHandle } from '../../src/core/task.ts'

const handle: TaskHandle = { name: 'c', start: 'armed', placedAt: 1002 }
const fresh = queued({ id: 'a', functionName: 'test', mode: 'async', callId: 'c' }, 1000)
const lost: TaskEnd = { kind: 'lost', failure: { code: 'engine_failed', detail: 'gone' } }

const toResult = (end: TaskEnd, finishedAt: number): TaskResult => ({
  ...end,
  node: 'n',
  start: 'armed',
  startedAt: finishedAt - 5,
  finishedAt,
  timings: { runMs: 5 },
})
const states = ({ history }: Invocation) => history.map(({ state, at }) => [state, at])

test('a new one waits, and is due at once', () => {
  expect(fresh).toEqual({
    id: 'a',
    functionName: 'test',
    mode: 'async',
    callId: 'c',
    labels: [],
    parameters: {},
    hasInput: false,
    state: 'queued',
    createdAt: 1000,
    dueAt: 1000,
    timings: {},
    history: [{ state: 'queued', at: 1000 }],
    attempts: [],
  })
})

test('what runs has an attempt, of which is told where it is and what it has got', () => {
  const taken = running(fresh, 1001)
  expect(taken).toMatchObject({ state: 'running', timings: { queueMs: 1 } })
  expect(taken.attempts).toEqual([{ number: 1, takenAt: 1001 }])
  expect(inputDelivered(placed(taken, handle)).attempts).toEqual([
    { number: 1, takenAt: 1001, handle, isInputDelivered: true },
  ])
  expect(fresh.attempts).toEqual([])
})

test('one that ends tells how, in itself and in its attempt', () => {
  const ended = settled(
    placed(running(fresh, 1001), handle),
    toResult({ kind: 'exited', exitCode: 3, oomKilled: false }, 1010),
  )
  const outcome: Outcome = { reason: 'exited', exitCode: 3 }
  const facts = { finishedAt: 1010, node: 'n', start: 'armed', outcome }
  expect(ended).toMatchObject({
    ...facts,
    state: 'failed',
    startedAt: 1005,
    timings: { queueMs: 1, runMs: 5 },
  })
  expect(ended.attempts).toEqual([
    { number: 1, takenAt: 1001, handle, ...facts, timings: { runMs: 5 } },
  ])
  expect(states(ended)).toEqual([
    ['queued', 1000],
    ['running', 1001],
    ['failed', 1010],
  ])
})

test('one that is run again keeps each attempt, and waits anew for each', () => {
  const again = requeued(placed(running(fresh, 1001), handle), toResult(lost, 1010), 2010)
  expect(again).toMatchObject({ state: 'queued', dueAt: 2010, timings: {} })
  expect(again).not.toHaveProperty('outcome')
  expect(again).not.toHaveProperty('finishedAt')
  const ended = settled(
    running(again, 2013),
    toResult({ kind: 'exited', exitCode: 0, oomKilled: false }, 2020),
  )
  expect(ended).toMatchObject({ state: 'succeeded', timings: { queueMs: 3 } })
  expect(ended.attempts).toMatchObject([
    { number: 1, handle, finishedAt: 1010, outcome: { reason: 'lost' } },
    { number: 2, takenAt: 2013, finishedAt: 2020, outcome: { reason: 'exited' } },
  ])
  expect(ended.attempts[1]).not.toHaveProperty('handle')
  expect(states(ended)).toEqual([
    ['queued', 1000],
    ['running', 1001],
    ['queued', 1010],
    ['running', 2013],
    ['succeeded', 2020],
  ])
})

test('one whose command has not run waits again as if it had not been taken', () => {
  const back = returned(running(fresh, 1001), 1010)
  expect(back).toMatchObject({ state: 'queued', timings: {}, attempts: [] })
  expect(running(back, 1020).attempts).toEqual([{ number: 1, takenAt: 1020 }])
  expect(back.dueAt).toBe(1010)
  expect(states(back)).toEqual([['queued', 1000]])
})

test('one that ends while it waits for another attempt leaves those before as they were', () => {
  const again = requeued(running(fresh, 1001), toResult(lost, 1010), 2010)
  const end: TaskEnd = { kind: 'stopped', by: 'cancelled', exitCode: null }
  const { startedAt: _, ...result } = toResult(end, 1500)
  const ended = settled(again, result)
  expect(ended).toMatchObject({ state: 'cancelled', finishedAt: 1500 })
  expect(ended).not.toHaveProperty('startedAt')
  expect(ended.attempts).toEqual(again.attempts)
})

describe('the state', () => {
  test.each<[Outcome, string]>([
    [{ reason: 'exited', exitCode: 0 }, 'succeeded'],
    [{ reason: 'exited', exitCode: 1 }, 'failed'],
    [{ reason: 'oom_killed', exitCode: 137 }, 'failed'],
    [{ reason: 'not_started', exitCode: null }, 'failed'],
    [{ reason: 'timed_out', exitCode: 0 }, 'timed_out'],
    [{ reason: 'cancelled', exitCode: 143 }, 'cancelled'],
    [{ reason: 'lost', exitCode: null }, 'lost'],
  ])('of %o is %s', (outcome, state) => {
    expect(toState(outcome)).toBe(state)
  })

  test('tells what has come to its end', () => {
    const taken = running(fresh, 1001)
    expect([fresh, taken, settled(taken, toResult(lost, 1010))].map(isSettled)).toEqual([
      false,
      false,
      true,
    ])
  })
})
