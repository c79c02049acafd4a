import type { Kysely } from 'kysely'
import type { FunctionRow, Schema } from './schema.ts'
import type { FunctionStore, StoredFunction } from './store.ts'
import type { Writer } from './writer.ts'

export interface FunctionsDeps {
  readonly db: Kysely<Schema>
  readonly writer: Writer
}

export function createFunctions({ db, writer }: FunctionsDeps): FunctionStore {
  return {
    async list() {
      await writer.caughtUp()
      const rows = await db.selectFrom('function_definition').selectAll().orderBy('name').execute()
      return rows.map(toFunction)
    },

    put: (definition) =>
      writer.write(
        async (transaction) => {
          const row = toRow(definition)
          const { source, updated_at, updated_by } = row
          const known = await transaction
            .selectFrom('function_definition')
            .select('name')
            .where('name', '=', row.name)
            .executeTakeFirst()
          await transaction
            .insertInto('function_definition')
            .values(row)
            .onConflict((it) => it.column('name').doUpdateSet({ source, updated_at, updated_by }))
            .execute()
          return known === undefined
        },
        { durable: true },
      ),

    remove: (name) =>
      writer.write(
        async (transaction) => {
          const { numDeletedRows } = await transaction
            .deleteFrom('function_definition')
            .where('name', '=', name)
            .executeTakeFirst()
          return numDeletedRows > 0n
        },
        { durable: true },
      ),
  }
}

function toRow({ name, source, createdAt, updatedAt, updatedBy }: StoredFunction): FunctionRow {
  return { name, source, created_at: createdAt, updated_at: updatedAt, updated_by: updatedBy }
}

function toFunction(row: FunctionRow): StoredFunction {
  return {
    name: row.name,
    source: row.source,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    updatedBy: row.updated_by,
  }
}
