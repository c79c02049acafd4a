import type { Kysely, Transaction } from 'kysely'
import { sql } from 'kysely'
import type { Schema } from './schema.ts'
import type { ScheduleStore, ScheduleTick } from './store.ts'
import type { Writer } from './writer.ts'

export interface SchedulesDeps {
  readonly db: Kysely<Schema>
  readonly writer: Writer
}

export function createSchedules({ db, writer }: SchedulesDeps): ScheduleStore {
  return {
    async find(id) {
      await writer.caughtUp()
      const row = await db
        .selectFrom('schedule')
        .selectAll()
        .where('id', '=', id)
        .executeTakeFirst()
      if (!row) return undefined
      const { fingerprint, since, last_tick: lastTick, last_invocation_id: lastInvocationId } = row
      return {
        id,
        fingerprint,
        since,
        ...(lastTick !== null && { lastTick }),
        ...(lastInvocationId !== null && { lastInvocationId }),
      }
    },

    register: ({ id, fingerprint, since }) =>
      writer.write(
        async (transaction) => {
          const known = { fingerprint, since, last_tick: null, last_invocation_id: null }
          await transaction
            .insertInto('schedule')
            .values({ id, ...known })
            .onConflict((it) => it.column('id').doUpdateSet(known))
            .execute()
        },
        { durable: true },
      ),

    pass: (scheduleId, at) =>
      writer.write(async (transaction) => {
        await takeTick(transaction, { scheduleId, at }, undefined)
      }),
  }
}

/** False: the schedule has had this tick or a later one, or there is no such schedule. An invocation that is not made leaves the last one named. */
export async function takeTick(
  transaction: Transaction<Schema>,
  { scheduleId, at }: ScheduleTick,
  invocationId: string | undefined,
): Promise<boolean> {
  const { numUpdatedRows } = await transaction
    .updateTable('schedule')
    .set({ last_tick: at, ...(invocationId !== undefined && { last_invocation_id: invocationId }) })
    .where('id', '=', scheduleId)
    .where('since', '<=', at)
    .where(sql<boolean>`(last_tick is null or last_tick < ${at})`)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}
