import { setImmediate } from 'node:timers/promises'
import type { Kysely } from 'kysely'
import { sql } from 'kysely'
import type { Schema } from './schema.ts'
import type { KeptInvocation } from './store.ts'

/** As many at once: calls are not to wait for it. */
const PAGE = 500

const bytes = sql<number>`
  octet_length(invocation.record) + octet_length(invocation.parameters)
  + coalesce(octet_length(invocation.environment), 0) + coalesce((
    select octet_length(invocation_input.bytes) from invocation_input
    where invocation_input.invocation_id = invocation.id
  ), 0) + coalesce((
    select octet_length(invocation_output.frames) from invocation_output
    where invocation_output.invocation_id = invocation.id
  ), 0)`.as('bytes')

/** What has not ended, and what is still to be delivered. */
export async function* listKept(db: Kysely<Schema>): AsyncGenerator<KeptInvocation> {
  const unfinished = db.selectFrom('invocation').select(['id', 'id as place', bytes])
  for (const state of ['queued', 'running']) {
    yield* paged((after) =>
      unfinished
        .where('state', '=', state)
        .where('id', '>', after)
        .orderBy('id')
        .limit(PAGE)
        .execute(),
    )
  }
  const undelivered = db
    .selectFrom('delivery')
    .innerJoin('invocation', 'invocation.id', 'delivery.invocation_id')
    .select(['invocation.id', 'delivery.id as place', bytes])
  yield* paged((after) =>
    undelivered
      .where('delivery.state', '=', 'pending')
      .where('delivery.id', '>', after)
      .orderBy('delivery.id')
      .limit(PAGE)
      .execute(),
  )
}

async function* paged<T extends { readonly place: string }>(
  list: (after: string) => Promise<readonly T[]>,
): AsyncGenerator<T> {
  for (let after: string | undefined = ''; after !== undefined;) {
    const rows: readonly T[] = await list(after)
    yield* rows
    after = rows.at(-1)?.place
    await setImmediate()
  }
}
