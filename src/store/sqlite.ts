import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { OneshotError } from '../core/error.ts'
import type { Store } from './store.ts'

export interface SqliteStoreOptions {
  /** Made if it is missing. One gateway at a time may have it open. */
  readonly folder: string
  readonly newId: () => string
}

/** Rejects a folder that another gateway has open with `data_locked`. */
export function openSqliteStore({ folder, newId }: SqliteStoreOptions): Store {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const database = new DatabaseSync(join(folder, 'oneshot.db'))
  try {
    // Two gateways of one id would sweep each other's containers away: the lock is kept until the store is closed.
    database.exec('PRAGMA locking_mode = EXCLUSIVE')
    database.exec('PRAGMA journal_mode = WAL')
    database.exec('CREATE TABLE IF NOT EXISTS gateway (id TEXT NOT NULL)')
    database.exec('BEGIN IMMEDIATE')
    const row = database.prepare('SELECT id FROM gateway').get()
    const gatewayId = row === undefined ? newId() : String(row['id'])
    if (row === undefined) database.prepare('INSERT INTO gateway (id) VALUES (?)').run(gatewayId)
    database.exec('COMMIT')
    return { gatewayId, close: () => database.close() }
  } catch (error) {
    database.close()
    throw toStoreError(error, folder)
  }
}

function toStoreError(error: unknown, folder: string): unknown {
  const SQLITE_BUSY = 5
  if ((error as { errcode?: unknown }).errcode !== SQLITE_BUSY) return error
  return new OneshotError(
    'data_locked',
    `Another gateway is using the data folder ${folder}: end it, or give this one a folder of its own with ONESHOT_DATA.`,
    { cause: error },
  )
}
