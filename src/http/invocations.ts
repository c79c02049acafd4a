import type { OpenAPIHono } from '@hono/zod-openapi'
import { toRecordedName } from '../core/access.ts'
import type { Envelope } from '../core/envelope.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Attempt, Invocation } from '../core/invocation.ts'
import { isSettled } from '../core/invocation.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Invocations } from '../gateway/invocations.ts'
import type { Progress } from '../gateway/live.ts'
import type { Env } from './app.ts'
import { CALL_ID } from './answer.ts'
import { during } from './during.ts'
import { parseLineId } from './lines.ts'
import { answerLogs } from './logs.ts'
import { refuseOtherMethods } from './methods.ts'
import { negotiate, negotiateLogs } from './negotiate.ts'
import type { InvocationStatus } from './openapi-invocations.ts'
import {
  cancelInvocation,
  getInvocation,
  getLogs,
  getResult,
  listInvocations,
  parseTime,
  replayInvocation,
} from './openapi-invocations.ts'
import { answerStored, preferredForm } from './stored-answer.ts'

export interface InvocationsRouteDeps {
  readonly invocations: Invocations
  readonly findSpec: (functionName: string) => FunctionSpec | undefined
  readonly engine: Envelope['engine']
  /** Accepts the same call once more, and gives its id. */
  readonly replay: (invocation: Invocation, callId: string, caller?: string) => Promise<string>
}

/** How many a page has unless it is said. */
export const PAGE = '100'

/** What is known of calls by their ids: `/invocations` and what stands below it. */
export function mountInvocations(app: OpenAPIHono<Env>, deps: InvocationsRouteDeps) {
  const { invocations, findSpec, engine } = deps

  const toStatus = (invocation: ListedInvocation) =>
    toInvocationStatus(invocation, invocations.findProgress(invocation))

  app.openapi(listInvocations, async (c) => {
    const { function: functionName, state, label, cursor, limit = PAGE } = c.req.valid('query')
    const filter = {
      ...(functionName && { functionName }),
      ...(state && { state }),
      ...(label && { label }),
    }
    const { items, next } = await listPage(limit, cursor, (page) => invocations.list(filter, page))
    return c.json({ invocations: items.map(toStatus), ...(next && { next }) }, 200)
  })

  app.openapi(getInvocation, async (c) => {
    const until = during(c.env.outgoing, Number(c.req.valid('query').wait ?? 0) * 1000)
    return c.json(toStatus(await invocations.wait(c.req.valid('param').id, until)), 200)
  })

  app.openapi(getResult, async (c) => {
    const { outgoing } = c.env
    const { id } = c.req.valid('param')
    // What can't be answered is not waited for.
    const { functionName } = await invocations.get(id)
    const spec = findSpec(functionName)
    const form = negotiate(c.req.header('Accept'), preferredForm(spec))
    const until = during(outgoing, Number(c.req.valid('query').wait ?? 0) * 1000)
    const invocation = await invocations.wait(id, until)
    if (!isSettled(invocation)) {
      const detail = `It is ${invocation.state} still: ask again later, or with ?wait=30.`
      throw new OneshotError('not_finished', detail, { retryAfterSeconds: 1 })
    }
    outgoing.setHeader(CALL_ID, invocation.callId)
    return answerStored(invocation, form, { outgoing, invocations, engine, spec })
  })

  app.openapi(getLogs, async (c) => {
    const { outgoing } = c.env
    const form = negotiateLogs(c.req.header('Accept'))
    const { id } = c.req.valid('param')
    await invocations.get(id)
    const { follow = 'false', tail, since, stream } = c.req.valid('query')
    outgoing.setHeader(CALL_ID, c.get('callId'))
    // A HEAD has nothing to wait for.
    const isFollowing = !/^(false|0)$/.test(follow) && c.req.raw.method === 'GET'
    const lastId = c.req.valid('header')['Last-Event-ID'] ?? ''
    const query = {
      follow: isFollowing,
      tail: tail === undefined ? undefined : Number(tail),
      since: since === undefined ? undefined : parseTime(since),
      stream,
      after: form === 'text/event-stream' ? parseLineId(lastId) : undefined,
    }
    return answerLogs(id, query, { invocations, outgoing, form })
  })

  app.openapi(cancelInvocation, async (c) =>
    c.json(toStatus(await invocations.cancel(c.req.valid('param').id)), 200),
  )

  app.openapi(replayInvocation, async (c) => {
    const original = await invocations.get(c.req.valid('param').id)
    const id = await deps.replay(original, c.get('callId'), toRecordedName(c.get('caller')))
    c.header('Location', `/invocations/${id}`)
    c.header('Retry-After', '1')
    return c.json({ id, function: original.functionName, state: 'queued' as const }, 202)
  })

  refuseOtherMethods(app, '/invocations', 'GET, HEAD')
  refuseOtherMethods(app, '/invocations/:id', 'GET, HEAD')
  refuseOtherMethods(app, '/invocations/:id/result', 'GET, HEAD')
  refuseOtherMethods(app, '/invocations/:id/logs', 'GET, HEAD')
  refuseOtherMethods(app, '/invocations/:id/cancel', 'POST')
  refuseOtherMethods(app, '/invocations/:id/replay', 'POST')
}

/** One page, and if there is more, the cursor of the next. */
export async function listPage<T extends { readonly id: string }>(
  limit: string,
  cursor: string | undefined,
  list: (page: Parameters<Invocations['list']>[1]) => Promise<readonly T[]>,
): Promise<{ readonly items: readonly T[]; readonly next: string | undefined }> {
  const count = Number(limit)
  const found = await list({ limit: count + 1, ...(cursor && { after: cursor }) })
  const items = found.slice(0, count)
  return { items, next: found.length > count ? items.at(-1)?.id : undefined }
}

export function toTime(ms: number): string {
  return new Date(ms).toISOString()
}

type ListedInvocation = Omit<Invocation, 'parameters'>

function toInvocationStatus(
  invocation: ListedInvocation,
  progress: Progress | undefined,
): InvocationStatus {
  const { state, outcome, createdAt, finishedAt, start } = invocation
  const { startedAt = progress?.startedAt, node = progress?.node } = invocation
  return {
    id: invocation.id,
    function: invocation.functionName,
    state,
    mode: invocation.mode,
    callId: invocation.callId,
    labels: [...invocation.labels],
    ...(invocation.caller !== undefined && { caller: invocation.caller }),
    ...(invocation.trigger && { trigger: invocation.trigger }),
    ...toEnd({ outcome, node, start }),
    ...(progress?.waitingFor !== undefined && { waitingFor: progress.waitingFor }),
    createdAt: toTime(createdAt),
    ...(state === 'queued' && { dueAt: toTime(invocation.dueAt) }),
    ...(startedAt !== undefined && { startedAt: toTime(startedAt) }),
    ...(finishedAt !== undefined && {
      finishedAt: toTime(finishedAt),
      durationMs: finishedAt - createdAt,
    }),
    timings: invocation.timings,
    history: invocation.history.map(({ state: each, at }) => ({ state: each, at: toTime(at) })),
    attempts: invocation.attempts.map(toAttempt),
    ...(invocation.replayOf !== undefined && { replayOf: invocation.replayOf }),
  }
}

function toAttempt({ number, takenAt, finishedAt, outcome, node, start }: Attempt) {
  return {
    number,
    takenAt: toTime(takenAt),
    ...(finishedAt !== undefined && { finishedAt: toTime(finishedAt) }),
    ...toEnd({ outcome, node, start }),
  }
}

function toEnd({
  outcome,
  node,
  start,
}: {
  readonly outcome: Outcome | undefined
  readonly node: string | undefined
  readonly start: Invocation['start'] | undefined
}) {
  return {
    ...(outcome && { reason: outcome.reason, exitCode: outcome.exitCode }),
    ...(outcome?.failure && { error: outcome.failure }),
    ...(node !== undefined && { node }),
    ...(start && { start }),
  }
}
