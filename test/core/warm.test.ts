import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Demand } from '../../src/core/warm.ts'
import { demanded, share, toTarget } from '../../src/core/warm.ts'

const MINUTE = 60_000
const auto = { min: 0, max: Infinity }

/** Of `count` calls, `everyMs` apart, the last of them at `now`. */
function demandOf(count: number, everyMs: number, now = count * everyMs): Demand {
  let demand: Demand | undefined
  for (let left = count - 1; left >= 0; left -= 1) demand = demanded(demand, now - left * everyMs)
  return demand!
}

describe('demand', () => {
  test.each([50, 100, 1000, 5000])('of a call every %i ms comes to that rate', (everyMs) => {
    const { rate } = demandOf((5 * MINUTE) / everyMs, everyMs)
    expect(rate).toBeGreaterThan(1000 / everyMs)
    // Right after a call the estimate stands highest: by that call.
    expect(rate).toBeLessThan(1000 / everyMs + 1 / 30)
  })

  test('counts a call the less, the longer ago it was', () => {
    const rates = [0, 10_000, 30_000, 90_000].map((pause) =>
      demanded(demanded(undefined, 0), pause),
    )
    expect(rates.map(({ rate }) => (rate * 30).toFixed(2))).toEqual([
      '2.00',
      '1.72',
      '1.37',
      '1.05',
    ])
    expect(rates.at(-1)?.lastAt).toBe(90_000)
  })
})

describe('the target', () => {
  test('of a function that was never called is its min', () => {
    expect(toTarget(auto, undefined, undefined, 0)).toBe(0)
    expect(toTarget({ min: 3, max: 5 }, undefined, 200, 0)).toBe(3)
  })

  test('is one as soon as it has been called, with room for the next', () => {
    const target = toTarget(auto, demandOf(1, 1), undefined, 1)
    expect(target).toBeGreaterThanOrEqual(1)
    expect(target).toBeLessThanOrEqual(2)
  })

  test('covers what is called while one is being armed', () => {
    const now = 5 * MINUTE
    const tenASecond = demandOf(3000, 100, now)
    for (const armMs of [100, 500, 2000]) {
      expect(toTarget(auto, tenASecond, armMs, now)).toBeGreaterThan((10 * armMs) / 1000)
    }
    expect(toTarget(auto, tenASecond, 2000, now)).toBeGreaterThan(
      toTarget(auto, tenASecond, 500, now),
    )
  })

  test('falls when the calls cease: to few, to one, and after ten minutes to the min', () => {
    const now = 5 * MINUTE
    const busy = demandOf(3000, 100, now)
    const targets = [0, 1, 5, 10, 10.01].map((minutes) =>
      toTarget(auto, busy, 1000, now + minutes * MINUTE),
    )
    expect(targets[0]).toBeGreaterThan(10)
    expect(targets.slice(1)).toEqual([4, 1, 1, 0])
    expect(toTarget({ min: 4, max: 8 }, busy, 1000, now + 11 * MINUTE)).toBe(4)
  })

  test('never leaves the bounds of the definition', () => {
    const bound = fc.record({ min: fc.nat(20), more: fc.nat(20) })
    const demand = fc.record({
      rate: fc.double({ min: 0, max: 1e6, noNaN: true }),
      lastAt: fc.nat(),
    })
    fc.assert(
      fc.property(bound, fc.option(demand), fc.nat(60_000), fc.nat(), (range, of, armMs, later) => {
        const { min, max } = { min: range.min, max: range.min + range.more }
        const now = (of?.lastAt ?? 0) + later
        const target = toTarget({ min, max }, of ?? undefined, armMs, now)
        expect(Number.isInteger(target) && target >= min && target <= max).toBe(true)
      }),
    )
  })

  test('of a function that is to have none is 0, however it is called', () => {
    expect(toTarget({ min: 0, max: 0 }, demandOf(100, 10), 500, 1000)).toBe(0)
  })
})

describe('a budget', () => {
  const claims = fc.array(fc.record({ min: fc.nat(8), target: fc.nat(12) }), { maxLength: 8 })

  test('with room for all gives each its target', () => {
    expect(
      share(
        [
          { min: 2, target: 2 },
          { min: 0, target: 5 },
        ],
        7,
      ),
    ).toEqual([2, 5])
  })

  test('goes first to what definitions ask for, in their order', () => {
    const asking = { min: 3, target: 9 }
    expect(share([{ min: 0, target: 9 }, asking, asking], 5)).toEqual([0, 3, 2])
  })

  test('is parted evenly in what is left of it', () => {
    const busy = { min: 0, target: 100 }
    expect(share([busy, { min: 0, target: 1 }, busy, busy], 10)).toEqual([3, 1, 3, 3])
    expect(share([{ min: 4, target: 100 }, busy], 10)).toEqual([7, 3])
  })

  test('is never passed, and none is left while some claim is unmet', () => {
    fc.assert(
      fc.property(claims, fc.nat(60), (wanted, budget) => {
        const shares = share(wanted, budget)
        const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0)
        const targets = sum(wanted.map(({ target }) => target))
        expect(sum(shares)).toBe(Math.min(budget, targets))
        for (const [index, { target }] of wanted.entries()) {
          expect(shares[index]).toBeLessThanOrEqual(target)
        }
      }),
    )
  })

  test('of nothing arms nothing', () => {
    expect(share([{ min: 3, target: 5 }], 0)).toEqual([0])
  })
})
