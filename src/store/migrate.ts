import type { Kysely, MigrationProvider } from 'kysely'
import { Migrator } from 'kysely'
import { up as addInvocations } from './migrations/0001-invocations.ts'
import { up as addTriggers } from './migrations/0002-triggers.ts'
import type { Schema } from './schema.ts'

/** By name, which orders them. One that has been released is never changed. */
const MIGRATIONS = {
  '0001-invocations': { up: addInvocations },
  '0002-triggers': { up: addTriggers },
}

/**
 * Brings the tables up to date, all or nothing. Gives the names of the migrations that the database has and this
 * program doesn't: if there are any, a newer version wrote it, and it is left as it is.
 */
export async function migrate(db: Kysely<Schema>): Promise<readonly string[]> {
  const provider: MigrationProvider = { getMigrations: async () => MIGRATIONS }
  const { error } = await new Migrator({ db, provider }).migrateToLatest()
  if (error === undefined) return []
  const unknown = await findUnknown(db)
  if (unknown.length === 0) throw error
  return unknown
}

async function findUnknown(db: Kysely<Schema>): Promise<string[]> {
  const rows = await db
    .withTables<{ kysely_migration: { name: string } }>()
    .selectFrom('kysely_migration')
    .select('name')
    .orderBy('name')
    .execute()
  return rows.map(({ name }) => name).filter((name) => !Object.hasOwn(MIGRATIONS, name))
}
