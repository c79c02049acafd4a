import { createRoute, z } from '@hono/zod-openapi'
import { Envelope } from '../core/envelope.ts'
import { json, problem } from './openapi.ts'

export const Time = z.iso.datetime()
const state = z.enum(['queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost'])
const end = {
  reason: z
    .enum(['exited', 'timed_out', 'cancelled', 'oom_killed', 'not_started', 'lost'])
    .optional(),
  exitCode: z.int().nullable().optional(),
  error: z.object({ code: z.string(), detail: z.string() }).optional(),
  node: z.string().optional(),
  start: z.enum(['armed', 'cold']).optional(),
}

/** What is known of one call. */
export const InvocationStatus = z
  .object({
    id: z.string(),
    function: z.string(),
    state,
    mode: z.enum(['sync', 'async']),
    callId: z.string(),
    labels: z.array(z.string()),
    caller: z
      .string()
      .optional()
      .meta({ description: 'Who called: the name of the key, or the subject of the token' }),
    trigger: z
      .object({ type: z.enum(['webhook', 'schedule']), name: z.string() })
      .optional()
      .meta({ description: 'What made it by itself' }),
    ...end,
    node: z.string().optional().meta({ description: 'The host that ran it, or has it' }),
    waitingFor: z
      .string()
      .optional()
      .meta({ description: "Running: why its command has not started yet, in the engine's words" }),
    createdAt: Time,
    dueAt: Time.optional().meta({ description: 'Queued: it is not run before' }),
    startedAt: Time.optional(),
    finishedAt: Time.optional(),
    durationMs: z.number().optional(),
    timings: Envelope.shape.timings,
    history: z.array(z.object({ state, at: Time })),
    attempts: z.array(
      z.object({ number: z.int(), takenAt: Time, finishedAt: Time.optional(), ...end }),
    ),
    replayOf: z.string().optional(),
  })
  .meta({ id: 'Invocation' })

export type InvocationStatus = z.infer<typeof InvocationStatus>

const id = z.object({ id: z.string().meta({ param: { name: 'id', in: 'path' } }) })
const wait = z.string().regex(/^\d{1,4}$/, 'must be whole seconds, up to 9999')
export const limit = z.string().regex(/^[1-9]\d{0,2}$/, 'must be a number from 1 to 999')
export const cursor = z.string().max(100)
const text = { 'text/plain': { schema: z.string() } }
const events = { 'text/event-stream': { schema: z.string() } }
const octets = { 'application/octet-stream': { schema: z.string() } }
const failure = { ...json(Envelope), ...problem }
const unknown = { 404: { description: 'There is none of this id', content: problem } }

export const invalidQuery = { 400: { description: 'The query is wrong', content: problem } }

export const listInvocations = createRoute({
  method: 'get',
  path: '/invocations',
  summary: 'Calls, newest first',
  request: {
    query: z.object({
      function: z.string().optional(),
      state: state.optional(),
      label: z.string().optional(),
      cursor: cursor.optional().meta({ description: '`next` of the page before' }),
      limit: limit.optional(),
    }),
  },
  responses: {
    200: {
      description: 'One page',
      content: json(
        z.object({ invocations: z.array(InvocationStatus), next: z.string().optional() }),
      ),
    },
    ...invalidQuery,
  },
})

export const getInvocation = createRoute({
  method: 'get',
  path: '/invocations/{id}',
  summary: 'What is known of a call',
  request: {
    params: id,
    query: z.object({
      wait: wait.optional().meta({ description: 'Wait for its end, for so many seconds at most' }),
    }),
  },
  responses: {
    200: { description: 'Its state by now', content: json(InvocationStatus) },
    ...invalidQuery,
    ...unknown,
  },
})

const notAcceptable = {
  406: { description: 'The answer has none of the forms that Accept names', content: problem },
}

export const getResult = createRoute({
  method: 'get',
  path: '/invocations/{id}/result',
  summary: 'The answer that its caller had, or would have had by waiting',
  description: 'In the form that Accept names, with the status and the headers of that answer.',
  request: {
    params: id,
    query: z.object({
      wait: wait.optional().meta({ description: 'Wait for its end, for so many seconds at most' }),
    }),
  },
  responses: {
    200: {
      description: 'The command ran to an end of its own',
      content: { ...json(Envelope), ...text, ...events, ...octets },
    },
    ...invalidQuery,
    ...unknown,
    ...notAcceptable,
    409: { description: 'It has not ended: Retry-After says when to ask again', content: problem },
    413: { description: 'Its input was more than the engine can hand over', content: failure },
    422: {
      description: "The engine could not hand its input to the command's stdin",
      content: failure,
    },
    500: { description: 'The command failed; only as text/plain or application/octet-stream' },
    502: { description: 'The command could not be started', content: failure },
    503: { description: 'The call was cancelled or lost, or found no room', content: failure },
    504: { description: 'The command was stopped at its timeout', content: failure },
  },
})

/** Milliseconds since the epoch; NaN for what is no time. */
export function parseTime(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  return /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN
}

export const getLogs = createRoute({
  method: 'get',
  path: '/invocations/{id}/logs',
  summary: 'What a call has printed, while it runs and afterwards',
  request: {
    params: id,
    query: z.object({
      follow: z
        .enum(['true', '1', '', 'false', '0'], 'must be true or false')
        .optional()
        .meta({ description: 'Go on with what it will print, to its end' }),
      tail: z
        .string()
        .regex(/^(?:\d{1,4}|10000)$/, 'must be a number of lines, up to 10000')
        .optional()
        .meta({ description: 'Begin with so many of the last lines' }),
      since: z
        .string()
        .refine((text) => !Number.isNaN(parseTime(text)), {
          error: 'must be a time such as 2026-11-21T10:00:00Z, or milliseconds since 1970',
        })
        .optional()
        .meta({ description: 'Only lines of that time and later' }),
      stream: z.enum(['stdout', 'stderr'], 'must be stdout or stderr').optional(),
    }),
    headers: z.object({
      'Last-Event-ID': z.string().optional().meta({
        description:
          'As text/event-stream: the `id` of the last event that came; go on after it, whatever `tail` says. Anything else is ignored',
        example: '1-42',
      }),
    }),
  },
  responses: {
    200: {
      description:
        'As text/plain the output itself. Else a line each, as {time, stream, text}, with "part": true if it goes on in the next; an event\'s `id` is its attempt and its number in it',
      content: { ...text, 'application/x-ndjson': { schema: z.string() }, ...events },
    },
    ...invalidQuery,
    ...unknown,
    ...notAcceptable,
  },
})

export const cancelInvocation = createRoute({
  method: 'post',
  path: '/invocations/{id}/cancel',
  summary: 'Stop a call, whether it waits or runs',
  request: { params: id },
  responses: {
    200: { description: 'Its end, or that which it had before', content: json(InvocationStatus) },
    ...unknown,
  },
})

export const replayInvocation = createRoute({
  method: 'post',
  path: '/invocations/{id}/replay',
  summary: 'Make the same call once more',
  request: { params: id },
  responses: {
    202: {
      description: 'It is accepted: Location names it',
      content: json(z.object({ id: z.string(), function: z.string(), state })),
    },
    409: { description: 'Its input was not kept', content: problem },
    ...unknown,
  },
})

const Delivery = z
  .object({
    id: z.string(),
    invocation: z.string(),
    function: z.string(),
    url: z.string(),
    format: z.enum(['envelope', 'raw', 'cloudevents']),
    state: z.enum(['pending', 'delivered', 'dead']),
    createdAt: Time,
    dueAt: Time.optional().meta({ description: 'Pending: it is not tried before' }),
    attempts: z.array(
      z.object({
        at: Time,
        latencyMs: z.number(),
        status: z.int().optional(),
        error: z.string().optional(),
        answer: z.string().optional().meta({ description: 'The first 16 KiB' }),
      }),
    ),
  })
  .meta({ id: 'Delivery' })

export type DeliveryStatus = z.infer<typeof Delivery>

export const listDeliveries = createRoute({
  method: 'get',
  path: '/deliveries',
  summary: 'Callbacks, newest first',
  request: {
    query: z.object({
      state: z.enum(['pending', 'delivered', 'dead']).optional(),
      invocation: z.string().optional(),
      cursor: cursor.optional(),
      limit: limit.optional(),
    }),
  },
  responses: {
    200: {
      description: 'One page',
      content: json(z.object({ deliveries: z.array(Delivery), next: z.string().optional() })),
    },
    ...invalidQuery,
  },
})

export const getDelivery = createRoute({
  method: 'get',
  path: '/deliveries/{id}',
  summary: 'One callback and its attempts',
  request: { params: id },
  responses: { 200: { description: 'What is known of it', content: json(Delivery) }, ...unknown },
})

export const retryDelivery = createRoute({
  method: 'post',
  path: '/deliveries/{id}/retry',
  summary: 'Send a callback again, now',
  request: { params: id },
  responses: {
    200: { description: 'It is to be tried with all its tries', content: json(Delivery) },
    ...unknown,
  },
})
