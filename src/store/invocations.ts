import type { Kysely, Transaction } from 'kysely'
import { sql } from 'kysely'
import type { Invocation } from '../core/invocation.ts'
import { toDeliveryRow } from './deliveries.ts'
import {
  CHANGING_COLUMNS,
  COLUMNS,
  toChangingRow,
  toInput,
  toInputRow,
  toInvocation,
  toListed,
  toOutput,
  toOutputRow,
  toRow,
} from './invocation-rows.ts'
import type { InputRow, InvocationRow, OutputRow, Schema } from './schema.ts'
import { countParked, fillGroup, isFull, listGroup, parkInGroup } from './groups.ts'
import { insertDelivery, toDropped } from './hooks.ts'
import { takeTick } from './schedules.ts'
import type { AddOptions, Added, IdempotencyKey, InvocationStore, KeyHolder } from './store.ts'
import { listKept } from './kept.ts'
import { toStatement } from './statement.ts'
import type { Writer } from './writer.ts'

export interface InvocationsDeps {
  readonly db: Kysely<Schema>
  readonly writer: Writer
}

// As it stands, not as a parameter: an index that has the queued ones only is used for nothing else.
const isQueued = sql<boolean>`state = 'queued' and due_at is not null`

const isPerishable = sql<boolean>`state = 'queued' and expires_at is not null`

/** The functions that have something queued: one look into the index for each, however much that is. */
const queuedFunctions = sql`
  with recursive queued_function (name) as (
    select min(function_name) from invocation where ${isQueued}
    union all
    select (select min(function_name) from invocation where ${isQueued} and function_name > name)
    from queued_function where name is not null
  )`

export function createInvocations({ db, writer }: InvocationsDeps): InvocationStore {
  const records = db.selectFrom('invocation').select('record')
  const invocations = records.select(['parameters', 'environment'])
  const insertInvocation = toStatement(COLUMNS, (row: InvocationRow) =>
    db.insertInto('invocation').values(row),
  )
  const updateInvocation = toStatement(
    CHANGING_COLUMNS,
    ({ id, state, due_at, finished_at, record }) =>
      db.updateTable('invocation').set({ state, due_at, finished_at, record }).where('id', '=', id),
  )
  const insertInput = toStatement(['invocation_id', 'length', 'bytes'], (row: InputRow) =>
    db.insertInto('invocation_input').values(row),
  )
  const insertOutput = toStatement(['invocation_id', 'record', 'frames'], (row: OutputRow) =>
    db.insertInto('invocation_output').values(row),
  )

  async function update(transaction: Transaction<Schema>, invocation: Invocation): Promise<void> {
    const { numAffectedRows } = await updateInvocation(transaction, toChangingRow(invocation))
    if (numAffectedRows === 0n) throw new Error(`there is no invocation ${invocation.id}`)
  }

  async function add(
    transaction: Transaction<Schema>,
    invocation: Invocation,
    { input, key, delivery, tick, dropsIfFull = false }: AddOptions,
  ): Promise<Added> {
    const { id, group } = invocation
    const holder = key && (await takeKey(transaction, key, id))
    if (holder) return { kind: 'repeated', holder }
    const isDropped = dropsIfFull && group !== undefined && (await isFull(transaction, group))
    const madeFor = isDropped ? undefined : id
    if (tick && !(await takeTick(transaction, tick, madeFor))) return { kind: 'ticked' }
    if (delivery) {
      const { record, body } = delivery
      const kept = isDropped ? toDropped(record) : { ...record, invocationId: id }
      const first = await insertDelivery(transaction, kept, body)
      if (first) return { kind: 'duplicate', first }
    }
    if (isDropped) return { kind: 'dropped' }
    await insertInvocation(transaction, toRow(invocation))
    if (group) {
      await parkInGroup(transaction, id)
      await fillGroup(transaction, group)
    }
    const labels = [...new Set(invocation.labels)]
    if (labels.length > 0) {
      const rows = labels.map((label) => ({ label, invocation_id: id }))
      await transaction.insertInto('invocation_label').values(rows).execute()
    }
    if (input) await insertInput(transaction, toInputRow(id, input))
    return { kind: 'added' }
  }

  /** SQLite takes the tables of a cross join in the order written: from the newest of the label on, without sorting. */
  function withLabel(label: string): typeof records {
    return db
      .selectFrom('invocation_label')
      .crossJoin('invocation')
      .whereRef('invocation.id', '=', 'invocation_label.invocation_id')
      .where('label', '=', label)
      .select('record')
  }

  return {
    add: (invocation, options = {}) =>
      writer.write((transaction) => add(transaction, invocation, options), {
        durable: options.durable ?? false,
      }),

    update: (invocation) => writer.write((transaction) => update(transaction, invocation)),

    settle: (invocation, output, delivery) =>
      writer.write(async (transaction) => {
        await update(transaction, invocation)
        if (invocation.group) await fillGroup(transaction, invocation.group)
        await insertOutput(transaction, toOutputRow(invocation.id, output))
        if (delivery) {
          await transaction.insertInto('delivery').values(toDeliveryRow(delivery)).execute()
        }
      }),

    async find(id) {
      await writer.caughtUp()
      const row = await invocations.where('id', '=', id).executeTakeFirst()
      return row && toInvocation(row)
    },

    async findKeyHolder({ scope, key }) {
      await writer.caughtUp()
      return selectKeyHolder(db, scope, key).executeTakeFirst()
    },

    async findInput(id) {
      const row = await db
        .selectFrom('invocation_input')
        .selectAll()
        .where('invocation_id', '=', id)
        .executeTakeFirst()
      return row && toInput(row)
    },

    async findOutput(id) {
      await writer.caughtUp()
      const row = await db
        .selectFrom('invocation_output')
        .selectAll()
        .where('invocation_id', '=', id)
        .executeTakeFirst()
      return row && toOutput(row)
    },

    async list({ functionName, state, label }, { after, limit }) {
      await writer.caughtUp()
      let query = label === undefined ? records : withLabel(label)
      const id = label === undefined ? 'id' : 'invocation_label.invocation_id'
      if (functionName !== undefined) query = query.where('function_name', '=', functionName)
      if (state !== undefined) query = query.where('state', '=', state)
      if (after !== undefined) query = query.where(sql.ref(id), '<', after)
      const rows = await query.orderBy(sql.ref(id), 'desc').limit(limit).execute()
      return rows.map(toListed)
    },

    async listDueFunctions(now) {
      const { rows } = await sql<{ name: string }>`${queuedFunctions}
        select name from queued_function where exists (
          select 1 from invocation
          where ${isQueued} and function_name = queued_function.name and due_at <= ${now}
        )`.execute(db)
      return rows.map(({ name }) => name)
    },

    async listDue(functionName, now, limit) {
      const rows = await invocations
        .where(isQueued)
        .where('function_name', '=', functionName)
        .where('due_at', '<=', now)
        .orderBy('due_at')
        .orderBy('id')
        .limit(limit)
        .execute()
      return rows.map(toInvocation)
    },

    async findNextDue(now) {
      const { rows } = await sql<{ due_at: number | null }>`${queuedFunctions}
        select min((
          select min(due_at) from invocation
          where ${isQueued} and function_name = queued_function.name and due_at > ${now}
        )) as due_at from queued_function`.execute(db)
      return rows[0]?.due_at ?? undefined
    },

    async listExpired(now, limit) {
      const rows = await invocations
        .where(isPerishable)
        .where('expires_at', '<', now)
        .orderBy('expires_at')
        .limit(limit)
        .execute()
      return rows.map(toInvocation)
    },

    async findNextExpiry(now) {
      const row = await db
        .selectFrom('invocation')
        .select('expires_at')
        .where(isPerishable)
        .where('expires_at', '>=', now)
        .orderBy('expires_at')
        .limit(1)
        .executeTakeFirst()
      return row?.expires_at ?? undefined
    },

    async countQueued() {
      const { count } = await db
        .selectFrom('invocation')
        .select((it) => it.fn.countAll<number | string>().as('count'))
        .where(isQueued)
        .executeTakeFirstOrThrow()
      return Number(count) + (await countParked(db))
    },

    async listGroup(key) {
      await writer.caughtUp()
      return listGroup(db, key)
    },

    async listStranded() {
      const rows = await invocations
        .where(({ eb, or, and }) =>
          or([
            eb('state', '=', 'running'),
            // Those of a group are waited for by the group, not by a caller.
            and([
              eb('state', '=', 'queued'),
              eb('due_at', 'is', null),
              eb('group_key', 'is', null),
            ]),
          ]),
        )
        .orderBy('id')
        .execute()
      return rows.map(toInvocation)
    },

    removeSettledBefore: (time, limit) =>
      writer.write(async (transaction) => {
        // What belongs to them goes with them: the tables say `on delete cascade`.
        const rows = await transaction
          .deleteFrom('invocation')
          .where('id', 'in', (it) =>
            it
              .selectFrom('invocation as old')
              .select('old.id')
              .where('old.finished_at', '<', time)
              .where(({ not, exists, selectFrom }) =>
                not(
                  exists(
                    selectFrom('delivery')
                      .select('delivery.id')
                      .whereRef('delivery.invocation_id', '=', 'old.id')
                      .where('delivery.state', '=', 'pending'),
                  ),
                ),
              )
              .orderBy('old.finished_at')
              .limit(limit),
          )
          .returning('id')
          .execute()
        const ids = rows.map(({ id }) => id)
        // A request with such a key is new again.
        if (ids.length > 0) {
          await transaction
            .deleteFrom('idempotency_key')
            .where('invocation_id', 'in', ids)
            .execute()
        }
        return ids
      }),

    listKept: () => listKept(db),

    removeKeysBefore: (time) =>
      writer.write(async (transaction) => {
        await transaction.deleteFrom('idempotency_key').where('created_at', '<', time).execute()
      }),
  }
}

async function takeKey(
  transaction: Transaction<Schema>,
  { scope, key, fingerprint, createdAt }: IdempotencyKey,
  invocationId: string,
): Promise<KeyHolder | undefined> {
  const row = { scope, key, fingerprint, invocation_id: invocationId, created_at: createdAt }
  const { numInsertedOrUpdatedRows } = await transaction
    .insertInto('idempotency_key')
    .values(row)
    .onConflict((it) => it.columns(['scope', 'key']).doNothing())
    .executeTakeFirst()
  if (numInsertedOrUpdatedRows !== 0n) return undefined
  return selectKeyHolder(transaction, scope, key).executeTakeFirstOrThrow()
}

function selectKeyHolder(db: Kysely<Schema>, scope: string, key: string) {
  return db
    .selectFrom('idempotency_key')
    .select(['invocation_id as invocationId', 'fingerprint'])
    .where('scope', '=', scope)
    .where('key', '=', key)
}
