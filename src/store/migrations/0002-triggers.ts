import type { Kysely } from 'kysely'
import { sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  await schema.alterTable('invocation').addColumn('group_key', 'text').execute()
  await schema.alterTable('invocation').addColumn('environment', 'text').execute()
  // With `due_at`: who waits for the others of a group, and who does not, is told apart by it.
  await schema
    .createIndex('invocation_by_group')
    .on('invocation')
    .columns(['group_key', 'due_at', 'id'])
    .where(sql<boolean>`group_key is not null and finished_at is null`)
    .execute()

  await schema
    .createTable('function_definition')
    .addColumn('name', 'text', (it) => it.primaryKey().notNull())
    .addColumn('source', 'text', (it) => it.notNull())
    .addColumn('created_at', 'bigint', (it) => it.notNull())
    .addColumn('updated_at', 'bigint', (it) => it.notNull())
    .addColumn('updated_by', 'text', (it) => it.notNull())
    .execute()

  await schema
    .createTable('hook_delivery')
    .addColumn('id', 'text', (it) => it.primaryKey().notNull())
    .addColumn('hook', 'text', (it) => it.notNull())
    .addColumn('delivery_key', 'text')
    .addColumn('received_at', 'bigint', (it) => it.notNull())
    .addColumn('body_bytes', 'bigint', (it) => it.notNull())
    .addColumn('record', 'text', (it) => it.notNull())
    .addColumn('body', 'bytea')
    .execute()
  // Several may have none.
  await schema
    .createIndex('hook_delivery_by_key')
    .unique()
    .on('hook_delivery')
    .columns(['hook', 'delivery_key'])
    .where(sql.ref('delivery_key'), 'is not', null)
    .execute()
  await schema
    .createIndex('hook_delivery_by_hook')
    .on('hook_delivery')
    .columns(['hook', 'id'])
    .execute()
  await schema
    .createIndex('hook_delivery_by_age')
    .on('hook_delivery')
    .columns(['received_at', 'id'])
    .execute()
  await schema
    .createIndex('hook_delivery_by_body')
    .on('hook_delivery')
    .columns(['id', 'body_bytes'])
    .where(sql.ref('body_bytes'), '>', sql.lit(0))
    .execute()
  // With what is always null: so nothing is asked of the table.
  await schema
    .createIndex('hook_delivery_without_key')
    .on('hook_delivery')
    .columns(['id', 'delivery_key'])
    .where(sql.ref('delivery_key'), 'is', null)
    .execute()

  await schema
    .createTable('schedule')
    .addColumn('id', 'text', (it) => it.primaryKey().notNull())
    .addColumn('fingerprint', 'text', (it) => it.notNull())
    .addColumn('since', 'bigint', (it) => it.notNull())
    .addColumn('last_tick', 'bigint')
    .addColumn('last_invocation_id', 'text')
    .execute()
}
