/*
 * Concurrency groups. Of the unfinished invocations of a group at most `max` have a `due_at`, by which the queue finds them; the others wait without one, and
 * get it in the order in which they came. All of it happens within the transaction that adds or settles one: a crash leaves nothing behind.
 */
import type { Kysely, Transaction } from 'kysely'
import { sql } from 'kysely'
import type { ConcurrencyGroup } from '../core/invocation.ts'
import type { Schema } from './schema.ts'

// As they stand: an index that has the unfinished ones of groups only is used for nothing else.
const isUnfinished = sql<boolean>`group_key is not null and finished_at is null`
const isParked = sql<boolean>`group_key is not null and finished_at is null and due_at is null`

/** Whether one more would have to wait. */
export async function isFull(
  transaction: Transaction<Schema>,
  { key, max }: ConcurrencyGroup,
): Promise<boolean> {
  const rows = await unfinished(transaction, key).limit(max).execute()
  return rows.length >= max
}

/** Has a new one wait for its turn. */
export async function parkInGroup(transaction: Transaction<Schema>, id: string): Promise<void> {
  await transaction.updateTable('invocation').set({ due_at: null }).where('id', '=', id).execute()
}

/** Gives their turns to as many as there is room for. */
export async function fillGroup(
  transaction: Transaction<Schema>,
  { key, max }: ConcurrencyGroup,
): Promise<void> {
  const active = await unfinished(transaction, key)
    .where('due_at', 'is not', null)
    .limit(max)
    .execute()
  const room = max - active.length
  if (room <= 0) return
  await transaction
    .updateTable('invocation')
    .set(({ ref }) => ({ due_at: ref('created_at') }))
    .where(
      'id',
      'in',
      unfinished(transaction, key).where('due_at', 'is', null).orderBy('id').limit(room),
    )
    .execute()
}

/** Oldest first. */
export async function listGroup(db: Kysely<Schema>, key: string): Promise<string[]> {
  const rows = await unfinished(db, key).orderBy('id').execute()
  return rows.map(({ id }) => id)
}

export async function countParked(db: Kysely<Schema>): Promise<number> {
  const { count } = await db
    .selectFrom('invocation')
    .select((it) => it.fn.countAll<number | string>().as('count'))
    .where(isParked)
    .executeTakeFirstOrThrow()
  return Number(count)
}

function unfinished(db: Kysely<Schema>, key: string) {
  return db.selectFrom('invocation').select('id').where('group_key', '=', key).where(isUnfinished)
}
