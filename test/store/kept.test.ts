import { expect, test } from 'vitest'
import { running } from '../../src/core/invocation.ts'
import { addSettled, ids, newDelivery, newInvocation, openStore } from './fixtures.ts'

test('what waits, runs or is to be delivered is told with its size, but not what has ended', async () => {
  const store = await openStore()
  const { invocations } = store
  const parameters = { text: 'a'.repeat(10_000) }
  const all = [newInvocation(), newInvocation({ parameters }), newInvocation(), newInvocation()]
  const [queued, taken, pending, delivered] = all as [Q, Q, Q, Q]
  await invocations.add(queued, { input: { kind: 'inline', bytes: new Uint8Array(50_000) } })
  await invocations.add(taken)
  await invocations.update(running(taken, 1001))
  await addSettled(store, pending, 2000, newDelivery(pending))
  await addSettled(store, delivered, 2000, { ...newDelivery(delivered), state: 'delivered' })
  await addSettled(store, newInvocation())
  const kept = await Array.fromAsync(invocations.listKept())
  expect(ids(kept)).toEqual([queued.id, taken.id, pending.id])
  expect(kept.map(({ bytes }) => Math.floor(bytes / 10_000))).toEqual([5, 1, 0])
})

test('of more than a page each is told once', async () => {
  const { invocations } = await openStore()
  const all = Array.from({ length: 1100 }, () => newInvocation())
  await Promise.all(all.map((invocation) => invocations.add(invocation)))
  expect(ids(await Array.fromAsync(invocations.listKept()))).toEqual(ids(all))
})

type Q = ReturnType<typeof newInvocation>
