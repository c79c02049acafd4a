import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Write, Writer } from '../../src/store/writer.ts'
import { createWriter } from '../../src/store/writer.ts'
import { ids, newInvocation, openStore } from './fixtures.ts'

/** Each transaction as what was written in it, with `!` if it was rolled back. */
function createRecorded(fails: (text: string) => boolean = () => false) {
  const transactions: { texts: string[]; durable: boolean; failed: boolean }[] = []
  const writer = createWriter({
    async transact(work, { durable }) {
      const transaction = { texts: [] as string[], durable, failed: true }
      transactions.push(transaction)
      const result = await work(transaction.texts as unknown as Parameters<Write<unknown>>[0])
      transaction.failed = false
      return result
    },
  })
  const write = (text: string, durable = false, to: Writer = writer) =>
    to.write(
      async (transaction) => {
        await Promise.resolve()
        if (fails(text)) throw new Error(`${text} fails`)
        ;(transaction as unknown as string[]).push(text)
        return text.toUpperCase()
      },
      { durable },
    )
  const committed = () =>
    transactions.filter(({ failed }) => !failed).map(({ texts }) => texts.join(' '))
  return { writer, write, transactions, committed }
}

test('what is given in one turn of the event loop is committed together, in order', async () => {
  const { write, committed } = createRecorded()
  const first = Promise.all([write('a'), write('b')])
  await Promise.resolve()
  const second = write('c')
  expect(await first).toEqual(['A', 'B'])
  expect(await second).toBe('C')
  await setImmediate()
  await write('d')
  expect(committed()).toEqual(['a b c', 'd'])
})

test('a transaction is durable if something in it is to be', async () => {
  const { write, transactions } = createRecorded()
  await write('a')
  await Promise.all([write('b'), write('c', true)])
  await write('d')
  expect(transactions.map(({ durable }) => durable)).toEqual([false, true, false])
})

test('what fails is rejected alone, and the rest is committed in order', async () => {
  const { write, committed } = createRecorded((text) => text === 'c' || text === 'f')
  const results = await Promise.allSettled(
    ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((text) => write(text)),
  )
  expect(results.map((it) => (it.status === 'fulfilled' ? it.value : String(it.reason)))).toEqual([
    'A',
    'B',
    'Error: c fails',
    'D',
    'E',
    'Error: f fails',
    'G',
  ])
  expect(committed().join(' ')).toBe('a b d e g')
})

test('a crowd is committed in several transactions, between which other work has its turn', async () => {
  const { write, committed } = createRecorded()
  let turns = 0
  const all = Promise.all(Array.from({ length: 1000 }, () => write('a')))
  const counting = (async () => {
    while (committed().length < 4) {
      await setImmediate()
      turns += 1
    }
  })()
  await Promise.all([all, counting])
  expect(turns).toBeGreaterThan(2)
})

test('close waits for what was given, and what comes later rejects', async () => {
  const { writer, write, committed } = createRecorded()
  const given = write('a')
  const closed = writer.close()
  await expect(write('b')).rejects.toThrow('the store is closed')
  await closed
  expect(committed()).toEqual(['a'])
  expect(await given).toBe('A')
})

test('in the database too, what fails leaves nothing and takes nothing with it', async () => {
  const { invocations } = await openStore()
  const known = newInvocation()
  await invocations.add(known)
  const many = Array.from({ length: 20 }, () => newInvocation())
  const key = { scope: 's', key: 'k', fingerprint: 'f', createdAt: 1 }
  const results = await Promise.allSettled([
    ...many.slice(0, 10).map((it) => invocations.add(it)),
    invocations.add(known, { key, durable: true }),
    ...many.slice(10).map((it) => invocations.add(it)),
  ])
  expect(results.flatMap(({ status }, index) => (status === 'rejected' ? index : []))).toEqual([10])
  const listed = await invocations.list({}, { limit: 100 })
  expect(ids(listed).sort()).toEqual(ids([known, ...many]).sort())
  expect(await invocations.add(newInvocation(), { key })).toEqual({ kind: 'added' })
})
