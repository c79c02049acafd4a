import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { v7 as newId } from 'uuid'
import { expect, onTestFinished, test } from 'vitest'
import type { HookDelivery } from '../../src/core/webhook/delivery.ts'
import type { Store } from '../../src/store/store.ts'
import { ids, makeFolder, newInvocation, openStore } from './fixtures.ts'

const newDelivery = (given: Partial<HookDelivery> = {}): HookDelivery => ({
  id: newId(),
  hook: 'deploy',
  functionName: 'echo',
  receivedAt: 1000,
  verdict: 'accepted',
  headers: { 'x-github-event': 'push' },
  bodyBytes: 4,
  ...given,
})
const body = Buffer.from('body')
const page = { limit: 100 }
const bounds = { maxBytes: 1e9, maxKeyless: 1000, maxPerHook: 1000 }

test('a delivery makes one invocation, whose id it has; its duplicate makes none, in another process too', async () => {
  const folder = await makeFolder()
  const before = await openStore(folder)
  const invocation = newInvocation()
  const record = newDelivery({ key: 'guid' })
  const delivery = { record, body }
  expect(await before.invocations.add(invocation, { delivery })).toEqual({ kind: 'added' })
  await before.close()
  const { invocations, hooks } = await openStore(folder)
  const second = newInvocation()
  const again = { record: newDelivery({ key: 'guid' }) }
  const first = { ...record, invocationId: invocation.id }
  expect(await invocations.add(second, { delivery: again })).toEqual({ kind: 'duplicate', first })
  expect(await invocations.find(second.id)).toBeUndefined()
  expect(await hooks.list('deploy', page)).toEqual([first])
  expect(await hooks.findByKey('deploy', 'guid')).toEqual(first)
  expect(await hooks.findByKey('other', 'guid')).toBeUndefined()
  expect(Buffer.from((await hooks.findBody(record.id))!)).toEqual(body)
})

test('variables come with an invocation, and not with a page of many', async () => {
  const { invocations } = await openStore()
  const environment = { BRANCH: 'main', EMPTY: '' }
  const invocation = newInvocation({ environment })
  await invocations.add(invocation)
  await invocations.update({ ...invocation, state: 'running' } as never)
  expect(await invocations.find(invocation.id)).toMatchObject({ environment, state: 'running' })
  expect((await invocations.list({}, page))[0]).not.toHaveProperty('environment')
  const plain = newInvocation()
  await invocations.add(plain)
  expect(await invocations.find(plain.id)).toEqual(plain)
})

test('a delivery that finds its group full is on record as dropped', async () => {
  const { invocations, hooks } = await openStore()
  const group = { key: 'g', max: 1 }
  await invocations.add(newInvocation({ group }))
  const record = newDelivery({ key: 'guid' })
  const options = { delivery: { record, body }, dropsIfFull: true }
  expect(await invocations.add(newInvocation({ group }), options)).toEqual({ kind: 'dropped' })
  expect(await hooks.find('deploy', record.id)).toEqual({ ...record, verdict: 'dropped' })
})

test('deliveries without an invocation are kept by their keys as well', async () => {
  const { hooks } = await openStore()
  const skipped = newDelivery({ key: 'guid', verdict: 'skipped' })
  expect(await hooks.add(skipped, body)).toBeUndefined()
  expect(await hooks.add(newDelivery({ key: 'guid' }))).toEqual(skipped)
  const keyless = [newDelivery(), newDelivery()]
  for (const each of keyless) expect(await hooks.add(each)).toBeUndefined()
  const [newest, ...older] = await hooks.list('deploy', page)
  expect(newest).toEqual(keyless[1])
  expect(older).toHaveLength(2)
  expect(ids(await hooks.list('deploy', { after: newest!.id, limit: 1 }))).toEqual([keyless[0]!.id])
})

test('old deliveries are forgotten, and bodies and those without a key beyond their bounds', async () => {
  const { hooks } = await openStore()
  const [old, first, second, third] = [500, 1000, 2000, 3000].map((receivedAt) =>
    newDelivery({ receivedAt, key: String(receivedAt) }),
  )
  for (const each of [old, first, second, third]) await hooks.add(each!, body)
  expect(await hooks.removeBefore(1000, 10)).toBe(1)
  await hooks.trim({ ...bounds, maxBytes: 8, maxKeyless: 0 })
  expect(await hooks.findBody(first!.id)).toBeUndefined()
  expect(await hooks.findBody(second!.id)).toBeDefined()
  const keyless = [newDelivery(), newDelivery(), newDelivery()]
  for (const each of keyless) await hooks.add(each)
  await hooks.trim({ ...bounds, maxBytes: 8, maxKeyless: 2 })
  const left = ids(await hooks.list('deploy', page))
  expect(left).toEqual(ids([keyless[2]!, keyless[1]!, third!, second!, first!]))
  await hooks.trim({ ...bounds, maxBytes: 7, maxKeyless: 0 })
  expect(await hooks.findBody(second!.id)).toBeUndefined()
  expect(await hooks.findBody(third!.id)).toBeDefined()
})

test('of each webhook the latest deliveries are remembered, so many as there may be', async () => {
  const { hooks } = await openStore()
  const add = async (hook: string) => {
    const delivery = newDelivery({ hook, key: newId() })
    await hooks.add(delivery, body)
    return delivery
  }
  const [first, second, third] = [await add('a'), await add('a'), await add('a')]
  const other = await add('b')
  expect(await hooks.trim({ ...bounds, maxPerHook: 3 })).toBe(0)
  expect(await hooks.trim({ ...bounds, maxPerHook: 2 })).toBe(1)
  expect(ids(await hooks.list('a', page))).toEqual(ids([third, second]))
  expect(await hooks.findByKey('a', first.key!)).toBeUndefined()
  expect(ids(await hooks.list('b', page))).toEqual([other.id])
})

test('bodies beyond their bound are forgotten from the oldest on, however many those are', async () => {
  const { hooks } = await openStore()
  const all = Array.from({ length: 1203 }, () => newDelivery({ key: newId() }))
  await Promise.all(all.map((each) => hooks.add(each, body)))
  await hooks.trim({ ...bounds, maxBytes: 2 * 4 + 3, maxPerHook: 2000 })
  const kept = await Promise.all(all.map(async ({ id: each }) => hooks.findBody(each)))
  expect(kept.findIndex((each) => each !== undefined)).toBe(1201)
  expect(kept.filter((each) => each !== undefined)).toHaveLength(2)
})

test('trimming looks at none of the records, which may be many and long', async () => {
  const folder = await makeFolder()
  await (await openStore(folder)).close()
  const db = new DatabaseSync(join(folder, 'oneshot.db'))
  onTestFinished(() => db.close())
  const planOf = (statement: string) =>
    db
      .prepare(`explain query plan ${statement}`)
      .all()
      .map(({ detail }) => detail)
  const keyless =
    'select id from hook_delivery where delivery_key is null order by id desc limit 1 offset 9'
  const bodies = 'select id, body_bytes from hook_delivery where body_bytes > 0 order by id'
  const sum = 'select sum(body_bytes) from hook_delivery where body_bytes > 0'
  const covering = (index: string) => [
    expect.stringMatching(
      new RegExp(`^(?:SCAN|SEARCH) hook_delivery USING COVERING INDEX ${index}`),
    ),
  ]
  expect(planOf(keyless)).toEqual(covering('hook_delivery_without_key'))
  expect(planOf(bodies)).toEqual(covering('hook_delivery_by_body'))
  expect(planOf(sum)).toEqual(covering('hook_delivery_by_body'))
})

const id = 'echo/nightly'
const tick = async ({ invocations }: Store, at: number) => {
  const invocation = newInvocation()
  const added = await invocations.add(invocation, { tick: { scheduleId: id, at } })
  return { kind: added.kind, id: invocation.id }
}

test('a tick makes one invocation, and none before it makes one any more, in another process too', async () => {
  const folder = await makeFolder()
  const before = await openStore(folder)
  await before.schedules.register({ id, fingerprint: 'f', since: 1000 })
  expect((await tick(before, 999)).kind).toBe('ticked')
  expect((await tick(before, 1000)).kind).toBe('added')
  const later = await tick(before, 3000)
  await before.close()
  const store = await openStore(folder)
  expect((await tick(store, 3000)).kind).toBe('ticked')
  expect((await tick(store, 2000)).kind).toBe('ticked')
  expect(await store.schedules.find(id)).toEqual({
    id,
    fingerprint: 'f',
    since: 1000,
    lastTick: 3000,
    lastInvocationId: later.id,
  })
})

test('what is passed over is not made up for; another timing begins anew', async () => {
  const store = await openStore()
  const { schedules } = store
  expect(await schedules.find(id)).toBeUndefined()
  expect((await tick(store, 1000)).kind).toBe('ticked')
  await schedules.register({ id, fingerprint: 'f', since: 0 })
  await schedules.pass(id, 2000)
  await schedules.pass(id, 1500)
  expect((await tick(store, 2000)).kind).toBe('ticked')
  expect((await tick(store, 2001)).kind).toBe('added')
  await schedules.register({ id, fingerprint: 'g', since: 5000 })
  expect(await schedules.find(id)).toEqual({ id, fingerprint: 'g', since: 5000 })
})

test('definitions are put, replaced and removed, and last', async () => {
  const folder = await makeFolder()
  const before = await openStore(folder)
  const first = { name: 'b', source: 'image: a', createdAt: 1, updatedAt: 1, updatedBy: 'ci' }
  expect(await before.functions.put(first)).toBe(true)
  const second = { ...first, source: 'image: b', updatedAt: 2, createdAt: 2, updatedBy: 'me' }
  expect(await before.functions.put(second)).toBe(false)
  expect(await before.functions.put({ ...first, name: 'a' })).toBe(true)
  await before.close()
  const { functions } = await openStore(folder)
  expect(await functions.list()).toEqual([
    { ...first, name: 'a' },
    { ...second, createdAt: 1 },
  ])
  expect(await functions.remove('a')).toBe(true)
  expect(await functions.remove('a')).toBe(false)
  expect(await functions.list()).toEqual([{ ...second, createdAt: 1 }])
})
