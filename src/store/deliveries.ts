import type { Kysely } from 'kysely'
import { sql } from 'kysely'
import type { Delivery } from '../core/callback.ts'
import { toHost } from '../core/callback.ts'
import type { DeliveryRow, Schema } from './schema.ts'
import type { DeliveryStore } from './store.ts'
import type { Writer } from './writer.ts'

export interface DeliveriesDeps {
  readonly db: Kysely<Schema>
  readonly writer: Writer
}

export function createDeliveries({ db, writer }: DeliveriesDeps): DeliveryStore {
  const deliveries = db.selectFrom('delivery').select('record')
  // As it stands, not as a parameter: an index that has the pending ones only is used for nothing else.
  const isPending = sql<boolean>`state = 'pending'`

  return {
    async find(id) {
      await writer.caughtUp()
      const row = await deliveries.where('id', '=', id).executeTakeFirst()
      return row && toDelivery(row)
    },

    update: (delivery) =>
      writer.write(async (transaction) => {
        const { id, state, due_at, record } = toDeliveryRow(delivery)
        const { numUpdatedRows } = await transaction
          .updateTable('delivery')
          .set({ state, due_at, record })
          .where('id', '=', id)
          .executeTakeFirst()
        if (numUpdatedRows === 0n) throw new Error(`there is no delivery ${id}`)
      }),

    async list({ state, invocationId }, { after, limit }) {
      await writer.caughtUp()
      let query = deliveries.orderBy('id', 'desc').limit(limit)
      if (state !== undefined) query = query.where('state', '=', state)
      if (invocationId !== undefined) query = query.where('invocation_id', '=', invocationId)
      if (after !== undefined) query = query.where('id', '<', after)
      return (await query.execute()).map(toDelivery)
    },

    async listDue(now, limit, exceptHosts) {
      let query = db
        .selectFrom('delivery')
        .select(['id', 'host'])
        .where(isPending)
        .where('due_at', '<=', now)
      // Postgres takes no list of none.
      if (exceptHosts.length > 0) query = query.where('host', 'not in', exceptHosts)
      return query.orderBy('due_at').orderBy('id').limit(limit).execute()
    },

    async findNextDue(now) {
      const row = await db
        .selectFrom('delivery')
        .select('due_at')
        .where(isPending)
        .where('due_at', '>', now)
        .orderBy('due_at')
        .limit(1)
        .executeTakeFirst()
      return row?.due_at
    },
  }
}

export function toDeliveryRow(delivery: Delivery): DeliveryRow {
  return {
    id: delivery.id,
    invocation_id: delivery.invocationId,
    state: delivery.state,
    created_at: delivery.createdAt,
    due_at: delivery.dueAt,
    host: toHost(delivery.callback),
    record: JSON.stringify(delivery),
  }
}

const toDelivery = ({ record }: Pick<DeliveryRow, 'record'>) => JSON.parse(record) as Delivery
