import type { Kysely, RawBuilder, Transaction } from 'kysely'
import { sql } from 'kysely'
import type { HookDelivery } from '../core/webhook/delivery.ts'
import type { HookDeliveryRow, Schema } from './schema.ts'
import type { HookStore } from './store.ts'
import type { Writer } from './writer.ts'

// As it stands, not as a parameter: an index that has the kept ones only is used for nothing else.
const isKept = sql<boolean>`body_bytes > 0`

/** Bodies that are looked at in one go. */
const BATCH = 500

export interface HooksDeps {
  readonly db: Kysely<Schema>
  readonly writer: Writer
}

export function createHooks({ db, writer }: HooksDeps): HookStore {
  const deliveries = db.selectFrom('hook_delivery').select('record')

  return {
    add: (delivery, body) =>
      writer.write((transaction) => insertDelivery(transaction, delivery, body), {
        durable: delivery.key !== undefined,
      }),

    async findByKey(hook, key) {
      await writer.caughtUp()
      return findByKey(db, hook, key)
    },

    async find(hook, id) {
      await writer.caughtUp()
      const row = await deliveries.where('hook', '=', hook).where('id', '=', id).executeTakeFirst()
      return row && toDelivery(row)
    },

    async findBody(id) {
      await writer.caughtUp()
      const row = await db
        .selectFrom('hook_delivery')
        .select('body')
        .where('id', '=', id)
        .executeTakeFirst()
      return row?.body ?? undefined
    },

    async list(hook, { after, limit }) {
      await writer.caughtUp()
      let query = deliveries.where('hook', '=', hook).orderBy('id', 'desc').limit(limit)
      if (after !== undefined) query = query.where('id', '<', after)
      return (await query.execute()).map(toDelivery)
    },

    removeBefore: (time, limit) =>
      writer.write(async (transaction) => {
        const { numDeletedRows } = await transaction
          .deleteFrom('hook_delivery')
          .where('id', 'in', (it) =>
            it
              .selectFrom('hook_delivery')
              .select('id')
              .where('received_at', '<', time)
              .orderBy('received_at')
              .orderBy('id')
              .limit(limit),
          )
          .executeTakeFirst()
        return Number(numDeletedRows)
      }),

    trim: (bounds) =>
      writer.write(async (transaction) => {
        await trimBodies(transaction, bounds.maxBytes)
        await removeBeyond(transaction, bounds.maxKeyless, sql<boolean>`delivery_key is null`)
        return trimHooks(transaction, bounds.maxPerHook)
      }),
  }
}

/** From the oldest on, so that what is kept is only added up. */
async function trimBodies(transaction: Transaction<Schema>, maxBytes: number): Promise<void> {
  const kept = transaction.selectFrom('hook_delivery').where(isKept)
  const { total } = await kept
    .select((it) => it.fn.sum<number | string | null>('body_bytes').as('total'))
    .executeTakeFirstOrThrow()
  let excess = Number(total ?? 0) - maxBytes
  while (excess > 0) {
    const oldest = await kept.select(['id', 'body_bytes']).orderBy('id').limit(BATCH).execute()
    let newest: string | undefined
    for (const { id, body_bytes } of oldest) {
      if (excess <= 0) break
      excess -= body_bytes
      newest = id
    }
    if (newest === undefined) return
    await transaction
      .updateTable('hook_delivery')
      .set({ body: null, body_bytes: 0 })
      .where(isKept)
      .where('id', '<=', newest)
      .execute()
  }
}

/** The oldest of those that `isOne` holds for. Returns how many there were beyond `max`. */
async function removeBeyond(
  transaction: Transaction<Schema>,
  max: number,
  isOne: RawBuilder<boolean>,
): Promise<number> {
  const newest = await transaction
    .selectFrom('hook_delivery')
    .select('id')
    .where(isOne)
    .orderBy('id', 'desc')
    .offset(max)
    .limit(1)
    .executeTakeFirst()
  if (!newest) return 0
  const { numDeletedRows } = await transaction
    .deleteFrom('hook_delivery')
    .where(isOne)
    .where('id', '<=', newest.id)
    .executeTakeFirst()
  return Number(numDeletedRows)
}

/** Each with one look into an index, however many deliveries a hook has. */
async function trimHooks(transaction: Transaction<Schema>, max: number): Promise<number> {
  const { rows } = await sql<{ name: string }>`
    with recursive hook (name) as (
      select min(hook) from hook_delivery
      union all
      select (select min(hook) from hook_delivery where hook > name) from hook
      where name is not null
    ) select name from hook where name is not null`.execute(transaction)
  let removed = 0
  for (const { name } of rows) {
    removed += await removeBeyond(transaction, max, sql<boolean>`hook = ${name}`)
  }
  return removed
}

/** The one that has its key already, if there is one: then nothing is written. */
export async function insertDelivery(
  transaction: Transaction<Schema>,
  delivery: HookDelivery,
  body: Uint8Array | undefined,
): Promise<HookDelivery | undefined> {
  const { id, hook, key, receivedAt } = delivery
  const first = key === undefined ? undefined : await findByKey(transaction, hook, key)
  if (first) return first
  const row: HookDeliveryRow = {
    id,
    hook,
    delivery_key: key ?? null,
    received_at: receivedAt,
    record: JSON.stringify(delivery),
    body: body ?? null,
    body_bytes: body?.length ?? 0,
  }
  await transaction.insertInto('hook_delivery').values(row).execute()
  return undefined
}

export function toDropped(delivery: HookDelivery): HookDelivery {
  return { ...delivery, verdict: 'dropped' }
}

async function findByKey(
  db: Kysely<Schema>,
  hook: string,
  key: string,
): Promise<HookDelivery | undefined> {
  const row = await db
    .selectFrom('hook_delivery')
    .select('record')
    .where('hook', '=', hook)
    .where('delivery_key', '=', key)
    .executeTakeFirst()
  return row && toDelivery(row)
}

const toDelivery = ({ record }: Pick<HookDeliveryRow, 'record'>) =>
  JSON.parse(record) as HookDelivery
