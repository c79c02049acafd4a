import { expect, test } from 'vitest'
import type { Invocation } from '../../src/core/invocation.ts'
import type { Store } from '../../src/store/store.ts'
import { end, ids, makeFolder, newInvocation, openStore, output } from './fixtures.ts'

const member = (max = 1, key = 'deploys') => newInvocation({ group: { key, max } })
const settle = (store: Store, invocation: Invocation) =>
  store.invocations.settle(end(invocation), output)
const listDue = async (store: Store) => ids(await store.invocations.listDue('echo', 5000, 100))

test('of a group the first is due, and each next one once the one before it has ended', async () => {
  const store = await openStore()
  const [first, second, third] = [member(), member(), member()]
  for (const each of [first, second, third]) await store.invocations.add(each)
  expect(await listDue(store)).toEqual([first.id])
  expect(await store.invocations.listGroup('deploys')).toEqual(ids([first, second, third]))
  expect(await store.invocations.countQueued()).toBe(3)
  await settle(store, first)
  expect(await listDue(store)).toEqual([second.id])
  await settle(store, second)
  expect(await listDue(store)).toEqual([third.id])
  await settle(store, third)
  expect(await store.invocations.listGroup('deploys')).toEqual([])
})

test('groups do not wait for one another, and a group of two has two due', async () => {
  const store = await openStore()
  const all = [member(2), member(2), member(2), member(1, 'other'), newInvocation()]
  for (const each of all) await store.invocations.add(each)
  const [first, second, third, other, free] = ids(all)
  expect(await listDue(store)).toEqual([first, second, other, free])
  await settle(store, all[1]!)
  expect(await listDue(store)).toEqual([first, third, other, free])
})

test('one that waits for its next attempt holds its turn', async () => {
  const store = await openStore()
  const [first, second] = [member(), member()]
  for (const each of [first, second]) await store.invocations.add(each)
  await store.invocations.update({ ...first, dueAt: 9000 })
  expect(await listDue(store)).toEqual([])
})

test('one that waited and has been cancelled gives nobody a second turn', async () => {
  const store = await openStore()
  const [first, second, third] = [member(), member(), member()]
  for (const each of [first, second, third]) await store.invocations.add(each)
  await settle(store, second)
  expect(await listDue(store)).toEqual([first.id])
})

test('one that is not to wait is dropped while its group is full', async () => {
  const store = await openStore()
  const [first, second, third] = [member(), member(), member()]
  const add = (it: Invocation) => store.invocations.add(it, { dropsIfFull: true })
  expect(await add(first)).toEqual({ kind: 'added' })
  expect(await add(second)).toEqual({ kind: 'dropped' })
  expect(await store.invocations.find(second.id)).toBeUndefined()
  await settle(store, first)
  expect(await add(third)).toEqual({ kind: 'added' })
})

test('what waits in a group is no stranded call, and waits on after a restart', async () => {
  const folder = await makeFolder()
  const before = await openStore(folder)
  const [first, second] = [member(), member()]
  for (const each of [first, second]) await before.invocations.add(each)
  await before.close()
  const store = await openStore(folder)
  expect(await store.invocations.listStranded()).toEqual([])
  await settle(store, first)
  expect(await listDue(store)).toEqual([second.id])
})
