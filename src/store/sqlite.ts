import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'
import { createDeliveries } from './deliveries.ts'
import { createSqliteDialect } from './dialect.ts'
import { newerVersion, toStoreError } from './failure.ts'
import { createFunctions } from './functions.ts'
import { createHooks } from './hooks.ts'
import { createInvocations } from './invocations.ts'
import { migrate } from './migrate.ts'
import { createSchedules } from './schedules.ts'
import type { Schema } from './schema.ts'
import type { Store } from './store.ts'
import { createWriter } from './writer.ts'

export interface SqliteStoreOptions {
  /** Made if it is missing. One gateway at a time may have it open. */
  readonly folder: string
  readonly newId: () => string
}

/**
 * Rejects a folder that another gateway has open with `data_locked`; with `data_unusable` one that can't be read and
 * written, that is damaged, or that a newer version wrote; and with `storage_full`.
 */
export async function openSqliteStore({ folder, newId }: SqliteStoreOptions): Promise<Store> {
  const toError = (error: unknown) => toStoreError(error, folder)
  const database = open(folder)
  const db = new Kysely<Schema>({ dialect: createSqliteDialect({ database, toError }) })
  try {
    const unknown = await migrate(db)
    if (unknown.length > 0) throw newerVersion(folder, unknown)
    const gatewayId = await findGatewayId(db, newId)

    let isDurable = false
    const writer = createWriter({
      async transact(work, { durable }) {
        if (durable !== isDurable) {
          database.exec(`PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}`)
          isDurable = durable
        }
        return db.transaction().execute(work)
      },
    })
    return {
      gatewayId,
      invocations: createInvocations({ db, writer }),
      deliveries: createDeliveries({ db, writer }),
      functions: createFunctions({ db, writer }),
      hooks: createHooks({ db, writer }),
      schedules: createSchedules({ db, writer }),
      // Not the file's size: pages that were freed are used again, and the file never shrinks.
      usedBytes() {
        const read = (name: string) => Number(database.prepare(`PRAGMA ${name}`).get()?.[name] ?? 0)
        return (read('page_count') - read('freelist_count')) * read('page_size')
      },
      async close() {
        await writer.close()
        await db.destroy()
      },
    }
  } catch (error) {
    await db.destroy()
    throw error
  }
}

/** Locked, until it is closed: two gateways of one id would sweep each other's containers away. */
function open(folder: string): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    database = new DatabaseSync(join(folder, 'oneshot.db'))
    database.exec('PRAGMA locking_mode = EXCLUSIVE')
    database.exec('PRAGMA journal_mode = WAL')
    // With WAL, what is committed outlives the process; the machine's end only with FULL.
    database.exec('PRAGMA synchronous = NORMAL')
    // A checkpoint holds everything up for some 20 ms: not each 4 MiB, the default, but each 16.
    database.exec('PRAGMA wal_autocheckpoint = 4000')
    database.exec('BEGIN IMMEDIATE; COMMIT')
    return database
  } catch (error) {
    database?.close()
    throw toStoreError(error, folder)
  }
}

function findGatewayId(db: Kysely<Schema>, newId: () => string): Promise<string> {
  return db.transaction().execute(async (transaction) => {
    const row = await transaction.selectFrom('gateway').select('id').executeTakeFirst()
    if (row) return row.id
    const id = newId()
    await transaction.insertInto('gateway').values({ id }).execute()
    return id
  })
}
