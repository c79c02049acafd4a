import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createDueQueue } from '../../src/gateway/due-queue.ts'

test('what is taken is always what is due first, whatever comes in between', () => {
  const acts = fc.array(fc.option(fc.oneof(fc.integer(), fc.constant(Infinity)), { freq: 2 }))
  fc.assert(
    fc.property(acts, (dueAts) => {
      const queue = createDueQueue()
      let model: number[] = []
      const found: (number | undefined)[] = []
      const expected: (number | undefined)[] = []
      for (const dueAt of dueAts) {
        if (dueAt === null) {
          const [first, ...rest] = model
          found.push(queue.first()?.dueAt, queue.take()?.dueAt)
          expected.push(first, first)
          model = rest
        } else {
          queue.add({ dueAt })
          model = [...model, dueAt].sort((a, b) => a - b)
        }
      }
      expect([...found, queue.first()?.dueAt]).toEqual([...expected, model[0]])
    }),
  )
})

test('ten thousand are added and taken at once', () => {
  const queue = createDueQueue()
  for (let count = 0; count < 10_000; count += 1) queue.add({ dueAt: (count * 7919) % 10_000 })
  for (let dueAt = 0; dueAt < 10_000; dueAt += 1) expect(queue.take()).toEqual({ dueAt })
  expect(queue.take()).toBeUndefined()
})
