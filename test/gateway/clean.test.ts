import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Cleaner } from '../../src/gateway/clean.ts'
import { startCleaner } from '../../src/gateway/clean.ts'
import { createSpool } from '../../src/store/spool.ts'
import { addSettled, makeFolder, newDelivery, newInvocation, openStore } from '../store/fixtures.ts'

const DAY = 86_400_000

async function setUp({ now = 10 * DAY, maxBytes = Infinity } = {}) {
  const folder = await makeFolder()
  const store = await openStore(folder)
  const spool = createSpool({ folder, clock: () => now })
  const warnings: string[] = []
  const logger = pino(
    { level: 'warn' },
    { write: (line) => void warnings.push((JSON.parse(line) as { msg: string }).msg) },
  )
  // What the database takes up is its own affair: test/store.
  const empty = { ...store, usedBytes: () => 0 }
  const deps = { store: empty, spool, retentionMs: DAY, maxBytes, clock: () => now, logger }
  let cleaner: Cleaner | undefined
  const clean = async () => {
    cleaner ??= startCleaner(deps)
    await cleaner.clean()
  }
  onTestFinished(() => cleaner?.close())
  const left = async () =>
    (await store.invocations.list({}, { limit: 1000 })).map(({ callId }) => callId).sort()
  /** Ended so long ago. */
  const add = (callId: string, ageMs: number) =>
    addSettled(store, newInvocation({ callId }), now - ageMs)
  const print = async (id: string, bytes: number) => {
    const recorder = spool.record(id, bytes)
    await recorder.write('stdout', Buffer.alloc(bytes))
    await recorder.finish()
  }
  return { folder, store, spool, clean, left, add, print, warnings }
}

describe('by age', () => {
  test('what ended before the retention is forgotten, with its files', async () => {
    const { folder, clean, left, add, print } = await setUp()
    const old = await add('old', DAY + 1)
    await add('young', DAY)
    await print(old.id, 100_000)
    await clean()
    expect(await left()).toEqual(['young'])
    expect(await readdir(join(folder, 'outputs'))).toEqual([])
  })

  test('many are forgotten in one go', async () => {
    const { clean, left, add } = await setUp()
    await Promise.all(Array.from({ length: 250 }, () => add('old', 2 * DAY)))
    await clean()
    expect(await left()).toEqual([])
  })

  test('what has not ended stays, however old, and so does what is still to be delivered', async () => {
    const { store, clean, left } = await setUp()
    await store.invocations.add(newInvocation({ callId: 'queued' }))
    for (const state of ['pending', 'dead', 'delivered'] as const) {
      const invocation = newInvocation({ callId: state })
      await addSettled(store, invocation, 2000, { ...newDelivery(invocation), state })
    }
    await clean()
    expect(await left()).toEqual(['pending', 'queued'])
  })

  test('idempotency keys are known for a day', async () => {
    const { store, clean } = await setUp()
    const add = (name: string, createdAt: number) =>
      store.invocations.add(newInvocation(), {
        key: { scope: 's', key: name, fingerprint: 'f', createdAt },
      })
    await add('old', 9 * DAY - 1)
    await add('young', 9 * DAY)
    await clean()
    expect(await add('old', 10 * DAY)).toEqual({ kind: 'added' })
    expect(await add('young', 10 * DAY)).toMatchObject({
      kind: 'repeated',
      holder: { fingerprint: 'f' },
    })
  })
})

describe('by size', () => {
  const MB = 1_000_000

  test('the oldest go, a few at a time, until a tenth is free', async () => {
    const { clean, left, add, print, warnings } = await setUp({ maxBytes: 10 * MB })
    for (let age = 29; age >= 10; age -= 1) await print((await add(`${age}`, age)).id, MB)
    await clean()
    expect(await left()).toEqual(['10', '11', '12', '13', '14', '15', '16', '17'])
    expect(warnings).toEqual(['the data folder is full: forgot the oldest calls'])
  })

  test('nothing goes while there is room', async () => {
    const { clean, left, add, print, warnings } = await setUp({ maxBytes: 1.1 * MB })
    await print((await add('a', 10)).id, MB)
    await clean()
    expect([await left(), warnings]).toEqual([['a'], []])
  })

  test('nothing goes for what may not, of which is warned once', async () => {
    const { store, spool, clean, left, add, print, warnings } = await setUp({ maxBytes: 2 * MB })
    await print((await add('ended', 10)).id, MB)
    const queued = newInvocation({ callId: 'queued' })
    const { input } = await spool.takeInput(queued.id, streamOf(Buffer.alloc(MB)))
    await store.invocations.add(queued, { input })
    const running = newInvocation({ callId: 'running' })
    await store.invocations.add({ ...running, state: 'running' })
    await print(running.id, MB)
    const pending = newInvocation({ callId: 'pending' })
    await addSettled(store, pending, 1, newDelivery(pending))
    await print(pending.id, MB)
    await clean()
    await clean()
    expect(await left()).toEqual(['ended', 'pending', 'queued', 'running'])
    expect(warnings).toEqual(['the data folder is full of what waits, runs or is sent'])
  })
})

test('cleaning that fails is tried again the next time', async () => {
  const { store, clean, left, add } = await setUp()
  await add('old', 2 * DAY)
  const { removeKeysBefore } = store.invocations
  store.invocations.removeKeysBefore = () => Promise.reject(new Error('busy'))
  await clean()
  expect(await left()).toEqual(['old'])
  store.invocations.removeKeysBefore = removeKeysBefore
  await clean()
  expect(await left()).toEqual([])
})

async function* streamOf(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts
}
