import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { FunctionSpec, Warm } from '../../src/core/function.ts'
import type { ArmedState } from '../../src/engine/engine.ts'
import { startWarmer } from '../../src/gateway/warm.ts'
import { functionSpec } from '../function-spec.ts'

const ADJUST_MS = 500
const HOUR = 60 * 60_000
const auto = { min: 0, max: Infinity }
const called = (name: string, warm: Warm = auto) => functionSpec({ name, warm })

/** An engine that has at once what it is told to keep, and says that arming takes `armMs`. */
function setUp(specs: readonly FunctionSpec[], { budget = 100, armMs = 200 } = {}) {
  const listed = [...specs]
  const kept = new Map<FunctionSpec, number>()
  const toState = ([spec, target]: [FunctionSpec, number]): ArmedState => ({
    spec,
    target,
    ready: target,
    armMs,
  })
  const warmer = startWarmer({
    engine: {
      arm: (spec, count) => void (count > 0 ? kept.set(spec, count) : kept.delete(spec)),
      armed: () => Array.from(kept, toState),
    },
    list: () => listed,
    budget,
    clock: Date.now,
  })
  const counts = () => Object.fromEntries(Array.from(kept, ([{ name }, count]) => [name, count]))
  return { warmer, listed, kept, counts }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('the engine is told to keep', () => {
  test('at the start what definitions ask for, and nothing of functions never called', () => {
    const { counts } = setUp([called('two', { min: 2, max: 2 }), called('auto')])
    expect(counts()).toEqual({ two: 2 })
  })

  test('some of a function once it is called, and the more the oftener', async () => {
    const [rare, busy, idle] = [called('rare'), called('busy'), called('idle')]
    const { warmer, counts } = setUp([rare, busy, idle])
    warmer.called(rare)
    for (let call = 0; call < 600; call += 1) {
      warmer.called(busy)
      await vi.advanceTimersByTimeAsync(50)
    }
    const { rare: few, busy: many, ...others } = counts()
    expect(few).toBeGreaterThan(0)
    expect(many).toBeGreaterThan(few!)
    expect(others).toEqual({})
  })

  test('nothing any more once it was not called for long', async () => {
    const spec = called('auto')
    const { warmer, counts } = setUp([spec])
    warmer.called(spec)
    await vi.advanceTimersByTimeAsync(ADJUST_MS)
    expect(counts()).toHaveProperty('auto')
    await vi.advanceTimersByTimeAsync(HOUR)
    expect(counts()).toEqual({})
  })

  test('no more than the budget, and then first what definitions ask for', async () => {
    const [asking, busy] = [called('asking', { min: 4, max: 4 }), called('busy')]
    const { warmer, counts } = setUp([busy, asking], { budget: 6, armMs: 10_000 })
    for (let call = 0; call < 100; call += 1) warmer.called(busy)
    warmer.adjust()
    expect(counts()).toEqual({ asking: 4, busy: 2 })
  })

  test('nothing at all with no budget', () => {
    const spec = called('asking', { min: 4, max: 4 })
    const { warmer, counts } = setUp([spec], { budget: 0 })
    warmer.called(spec)
    warmer.adjust()
    expect(counts()).toEqual({})
  })

  test('as much as arming takes long', () => {
    const count = (armMs: number) => {
      const spec = called('busy', { min: 1, max: Infinity })
      const { warmer, counts } = setUp([spec], { armMs })
      for (let call = 0; call < 100; call += 1) warmer.called(spec)
      warmer.adjust()
      return counts()['busy']!
    }
    expect(count(2000)).toBeGreaterThan(count(200))
  })
})

test('a definition that has changed or is gone lets go of what was made from it', async () => {
  const [former, other] = [
    called('changed', { min: 2, max: 2 }),
    called('gone', { min: 1, max: 1 }),
  ]
  const { listed, kept } = setUp([former, other])
  expect([...kept.keys()]).toEqual([former, other])
  const latter = called('changed', { min: 2, max: 2 })
  listed.splice(0, 2, latter)
  await vi.advanceTimersByTimeAsync(ADJUST_MS)
  expect([...kept]).toEqual([[latter, 2]])
})

test('a changed definition begins anew: its former calls do not count', async () => {
  const former = called('changed')
  const { warmer, listed, counts } = setUp([former])
  warmer.called(former)
  await vi.advanceTimersByTimeAsync(ADJUST_MS)
  expect(counts()).toHaveProperty('changed')
  listed.splice(0, 1, called('changed'))
  await vi.advanceTimersByTimeAsync(ADJUST_MS)
  expect(counts()).toEqual({})
})

test('once it is closed the engine is told nothing more', async () => {
  const spec = called('auto')
  const { warmer, counts } = setUp([spec])
  warmer.close()
  warmer.called(spec)
  await vi.advanceTimersByTimeAsync(HOUR)
  expect(counts()).toEqual({})
})
