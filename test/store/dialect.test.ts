import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql } from 'kysely'
import { expect, onTestFinished, test } from 'vitest'
import { createSqliteDialect } from '../../src/store/dialect.ts'
import { toStoreError } from '../../src/store/failure.ts'
import { createInvocations } from '../../src/store/invocations.ts'
import { migrate } from '../../src/store/migrate.ts'
import type { Schema } from '../../src/store/schema.ts'
import { createWriter } from '../../src/store/writer.ts'
import { newInvocation } from './fixtures.ts'

function openDatabase() {
  const database = new DatabaseSync(':memory:')
  const toError = (error: unknown) => toStoreError(error, '/data')
  const db = new Kysely<Schema>({ dialect: createSqliteDialect({ database, toError }) })
  onTestFinished(() => db.destroy())
  return { database, db }
}

test('what a transaction writes is seen by nobody else before its end', async () => {
  const { db } = openDatabase()
  await migrate(db)
  const inserted = Promise.withResolvers<void>()
  const written = db.transaction().execute(async (transaction) => {
    await transaction.insertInto('gateway').values({ id: 'a' }).execute()
    inserted.resolve()
    await new Promise((resolve) => setTimeout(resolve, 20))
    throw new Error('rolled back')
  })
  await inserted.promise
  const read = db.selectFrom('gateway').selectAll().execute()
  await expect(written).rejects.toThrow('rolled back')
  expect(await read).toEqual([])
})

test('any number of different texts is run', async () => {
  const { db } = openDatabase()
  await db.connection().execute(async (connection) => {
    for (let index = 0; index < 500; index++) {
      const { rows } = await sql<{ n: number }>`select ${sql.lit(index)} as n`.execute(connection)
      expect(rows).toEqual([{ n: index }])
    }
  })
})

test('what there is no room for is refused as such, and once there is room it goes on', async () => {
  const { database, db } = openDatabase()
  await migrate(db)
  const writer = createWriter({ transact: (work) => db.transaction().execute(work) })
  const { add, find } = createInvocations({ db, writer })
  const { page_count: pages } = database.prepare('PRAGMA page_count').get() as {
    page_count: number
  }
  const [large, small] = [newInvocation(), newInvocation()]
  const input = { kind: 'inline', bytes: new Uint8Array(1_000_000) } as const
  database.exec(`PRAGMA max_page_count = ${pages + 20}`)
  await Promise.all([
    expect(add(large, { input })).rejects.toMatchObject({ code: 'storage_full' }),
    add(small),
  ])
  expect(await find(large.id)).toBeUndefined()
  expect(await find(small.id)).toEqual(small)
  database.exec('PRAGMA max_page_count = 100000')
  await add(large, { input })
})
