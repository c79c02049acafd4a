import type { Kysely } from 'kysely'
import { sql } from 'kysely'

// `bytea` is what Postgres has for bytes; to SQLite it is a name like any other.
export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db
  // The first versions made it without a migration.
  await schema
    .createTable('gateway')
    .ifNotExists()
    .addColumn('id', 'text', (it) => it.notNull())
    .execute()

  await schema
    .createTable('invocation')
    .addColumn('id', 'text', (it) => it.primaryKey().notNull())
    .addColumn('function_name', 'text', (it) => it.notNull())
    .addColumn('state', 'text', (it) => it.notNull())
    .addColumn('created_at', 'bigint', (it) => it.notNull())
    .addColumn('due_at', 'bigint')
    .addColumn('expires_at', 'bigint')
    .addColumn('finished_at', 'bigint')
    .addColumn('record', 'text', (it) => it.notNull())
    // Up to 1 MiB: behind all others, as SQLite reads a row from its beginning.
    .addColumn('parameters', 'text', (it) => it.notNull())
    .execute()
  await schema
    .createIndex('invocation_by_function')
    .on('invocation')
    .columns(['function_name', 'id'])
    .execute()
  await schema
    .createIndex('invocation_by_state')
    .on('invocation')
    .columns(['state', 'id'])
    .execute()
  await schema
    .createIndex('invocation_by_function_and_state')
    .on('invocation')
    .columns(['function_name', 'state', 'id'])
    .execute()
  // `state` comes first although it is always the same: SQLite prefers the index that fits more terms.
  await schema
    .createIndex('invocation_by_due')
    .on('invocation')
    .columns(['state', 'function_name', 'due_at', 'id'])
    .where(sql<boolean>`state = 'queued' and due_at is not null`)
    .execute()
  await schema
    .createIndex('invocation_by_expiry')
    .on('invocation')
    .columns(['state', 'expires_at'])
    .where(sql<boolean>`state = 'queued' and expires_at is not null`)
    .execute()
  await schema
    .createIndex('invocation_by_end')
    .on('invocation')
    .column('finished_at')
    .where(sql.ref('finished_at'), 'is not', null)
    .execute()

  await schema
    .createTable('invocation_label')
    .addColumn('label', 'text', (it) => it.notNull())
    .addColumn('invocation_id', 'text', (it) =>
      it.notNull().references('invocation.id').onDelete('cascade'),
    )
    .addPrimaryKeyConstraint('invocation_label_key', ['label', 'invocation_id'])
    .execute()
  await schema
    .createIndex('invocation_label_by_invocation')
    .on('invocation_label')
    .column('invocation_id')
    .execute()

  await schema
    .createTable('invocation_input')
    .addColumn('invocation_id', 'text', (it) =>
      it.primaryKey().notNull().references('invocation.id').onDelete('cascade'),
    )
    .addColumn('length', 'bigint', (it) => it.notNull())
    .addColumn('bytes', 'bytea')
    .execute()
  await schema
    .createTable('invocation_output')
    .addColumn('invocation_id', 'text', (it) =>
      it.primaryKey().notNull().references('invocation.id').onDelete('cascade'),
    )
    .addColumn('record', 'text', (it) => it.notNull())
    .addColumn('frames', 'bytea')
    .execute()

  // Without a reference: a key is known for its time, whatever became of its invocation.
  await schema
    .createTable('idempotency_key')
    .addColumn('scope', 'text', (it) => it.notNull())
    .addColumn('key', 'text', (it) => it.notNull())
    .addColumn('fingerprint', 'text', (it) => it.notNull())
    .addColumn('invocation_id', 'text', (it) => it.notNull())
    .addColumn('created_at', 'bigint', (it) => it.notNull())
    .addPrimaryKeyConstraint('idempotency_key_key', ['scope', 'key'])
    .execute()
  await schema
    .createIndex('idempotency_key_by_age')
    .on('idempotency_key')
    .column('created_at')
    .execute()
  await schema
    .createIndex('idempotency_key_by_invocation')
    .on('idempotency_key')
    .column('invocation_id')
    .execute()

  await schema
    .createTable('delivery')
    .addColumn('id', 'text', (it) => it.primaryKey().notNull())
    .addColumn('invocation_id', 'text', (it) =>
      it.notNull().references('invocation.id').onDelete('cascade'),
    )
    .addColumn('state', 'text', (it) => it.notNull())
    .addColumn('created_at', 'bigint', (it) => it.notNull())
    .addColumn('due_at', 'bigint', (it) => it.notNull())
    .addColumn('host', 'text', (it) => it.notNull())
    .addColumn('record', 'text', (it) => it.notNull())
    .execute()
  await schema
    .createIndex('delivery_by_invocation')
    .on('delivery')
    .columns(['invocation_id', 'state'])
    .execute()
  await schema.createIndex('delivery_by_state').on('delivery').columns(['state', 'id']).execute()
  // With all that is asked of what is due: hosts are passed over without a look into the table.
  await schema
    .createIndex('delivery_by_due')
    .on('delivery')
    .columns(['state', 'due_at', 'id', 'host'])
    .where(sql.ref('state'), '=', sql.lit('pending'))
    .execute()
}
