import { createRoute, z } from '@hono/zod-openapi'
import { Envelope } from '../core/envelope.ts'
import { json, problem } from './openapi.ts'
import { cursor, invalidQuery, limit, Time } from './openapi-invocations.ts'

const name = z.object({ name: z.string().meta({ param: { name: 'name', in: 'path' } }) })
const delivery = z.object({
  ...name.shape,
  id: z.string().meta({ param: { name: 'id', in: 'path' } }),
})
const refusal = (description: string) => ({ description, content: problem })
const noHook = { 404: refusal('There is no such webhook') }
const verdict = z.enum([
  'accepted',
  'duplicate',
  'skipped',
  'dropped',
  'answered',
  'refused',
  'invalid',
])
const violations = z.array(z.object({ pointer: z.string(), detail: z.string() }))
const anyBody = { content: { 'application/octet-stream': { schema: z.string() } } }

/** What became of a message, as its sender is told. */
export const HookResult = z
  .object({
    delivery: z.string().meta({ description: 'The id of its record' }),
    verdict,
    detail: z.string().optional(),
    id: z.string().optional().meta({ description: 'Of its invocation; of a duplicate, the first' }),
    errors: violations.optional(),
  })
  .meta({ id: 'HookResult' })

export type HookResult = z.infer<typeof HookResult>

const AcceptedDelivery = z.object({
  id: z.string().meta({ description: 'Of its invocation' }),
  function: z.string(),
  state: z.string(),
  delivery: z.string(),
})

export const receiveDelivery = createRoute({
  method: 'post',
  path: '/hook/{name}',
  summary: 'What a webhook of a function is sent to',
  description: 'Verified over the bytes of the body, by what the provider of the webhook signs.',
  request: { params: name, body: anyBody },
  responses: {
    200: {
      description:
        'Nothing new is run (a duplicate, skipped, dropped, a ping, a challenge); or, with `mode: sync`, the answer that a call would have had; or what became of each event of a batch',
      content: {
        'application/json': {
          schema: z.union([
            HookResult,
            z.object({ pong: z.literal(true) }),
            z.object({ deliveries: z.array(HookResult) }),
            Envelope,
          ]),
        },
        'text/plain': { schema: z.string() },
        'application/octet-stream': { schema: z.string() },
      },
    },
    202: {
      description:
        'It is on disk: Location names its invocation. Of a batch: at least one event is',
      content: json(z.union([AcceptedDelivery, z.object({ deliveries: z.array(HookResult) })])),
    },
    400: refusal('It is no CloudEvent, where such are wanted'),
    401: refusal('It is not signed as it should be'),
    ...noHook,
    408: refusal('Its body had not come after 10 s'),
    413: refusal('Its body is longer than 25 MiB, or than the function allows'),
    415: refusal('Its body is compressed'),
    422: refusal('What it says is not what the function takes'),
    429: refusal('Too many calls wait, or too many bodies are being read'),
    500: { description: 'The command failed; only with `mode: sync` and a raw answer' },
    503: refusal('The gateway is shutting down, or the definition is broken for now'),
    507: refusal('The disk of the data folder is full'),
  },
})

export const askWebhook = createRoute({
  method: 'options',
  path: '/hook/{name}',
  summary: 'Whether a webhook for CloudEvents wants deliveries',
  request: { params: name },
  responses: {
    200: { description: 'It does: WebHook-Allowed-Origin and WebHook-Allowed-Rate say so' },
    ...noHook,
    405: refusal('It is not one for CloudEvents'),
  },
})

const Hook = z
  .object({
    name: z.string(),
    function: z.string(),
    path: z.string(),
    provider: z.string(),
    mode: z.enum(['async', 'sync']),
    events: z.array(z.string()).optional(),
    concurrency: z
      .object({ max: z.int(), policy: z.enum(['queue', 'drop', 'replace']) })
      .optional(),
    secrets: z
      .array(z.object({ notAfter: Time.optional() }))
      .meta({ description: 'One each; never their values' }),
    served: z.boolean(),
    conflict: z
      .string()
      .optional()
      .meta({ description: 'Another function has a webhook of this name: what comes of that' }),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'Hook' })

export type HookSummary = z.infer<typeof Hook>

export const listHooks = createRoute({
  method: 'get',
  path: '/hooks',
  summary: 'The webhooks of all functions',
  responses: {
    200: { description: 'By name', content: json(z.object({ hooks: z.array(Hook) })) },
  },
})

const Delivery = z
  .object({
    id: z.string(),
    hook: z.string(),
    function: z.string(),
    receivedAt: Time,
    verdict,
    detail: z.string().optional(),
    event: z.string().optional(),
    deliveryId: z
      .string()
      .optional()
      .meta({ description: "The sender's own id, by which its duplicates are known" }),
    headers: z
      .record(z.string(), z.string())
      .meta({ description: 'Without what could be a secret' }),
    bodyBytes: z.int(),
    invocation: z.string().optional(),
    redeliveryOf: z.string().optional(),
  })
  .meta({ id: 'HookDelivery' })

export type HookDeliveryStatus = z.infer<typeof Delivery>

const RefusedDelivery = z
  .object({
    id: z.string(),
    hook: z.string(),
    receivedAt: Time,
    verdict: z.literal('refused'),
    reason: z.string(),
    address: z.string(),
    callId: z.string(),
    bodyBytes: z.int(),
  })
  .meta({ id: 'RefusedHookDelivery' })

export type RefusedDeliveryStatus = z.infer<typeof RefusedDelivery>

export const listHookDeliveries = createRoute({
  method: 'get',
  path: '/hooks/{name}/deliveries',
  summary: 'What came to a webhook, newest first',
  request: {
    params: name,
    query: z.object({
      cursor: cursor.optional().meta({ description: '`next` of the page before' }),
      limit: limit.optional(),
    }),
  },
  responses: {
    200: {
      description:
        'One page; the first one with the latest that were refused, which are on no record',
      content: json(
        z.object({
          deliveries: z.array(Delivery),
          refused: z.array(RefusedDelivery).optional(),
          next: z.string().optional(),
        }),
      ),
    },
    ...invalidQuery,
    ...noHook,
  },
})

const noDelivery = { 404: refusal('There is no such delivery') }

export const getHookDelivery = createRoute({
  method: 'get',
  path: '/hooks/{name}/deliveries/{id}',
  summary: 'One delivery, with its body if that is kept and short',
  request: { params: delivery },
  responses: {
    200: {
      description: 'What is known of it',
      content: json(
        Delivery.extend({
          body: z
            .object({ encoding: z.enum(['utf8', 'base64']), data: z.string() })
            .optional()
            .meta({ description: 'If it is kept and has at most 64 KiB' }),
          bodyKept: z.boolean(),
        }),
      ),
    },
    ...noDelivery,
  },
})

export const redeliverHookDelivery = createRoute({
  method: 'post',
  path: '/hooks/{name}/deliveries/{id}/redeliver',
  summary: 'Make an invocation of a delivery once more, with the definition of today',
  request: { params: delivery },
  responses: {
    200: { description: 'Too many are under way: it was dropped', content: json(HookResult) },
    202: { description: 'Location names its invocation', content: json(AcceptedDelivery) },
    ...noDelivery,
    409: refusal('Its body is not kept any more'),
    422: refusal('What it says is not what the function takes'),
    429: refusal('Too many calls wait'),
    507: refusal('The disk of the data folder is full'),
  },
})

const HookRun = z.object({
  event: z.string().optional(),
  deliveryId: z.string(),
  duplicateOf: z
    .object({ delivery: z.string(), id: z.string().optional() })
    .optional()
    .meta({ description: 'The delivery that has come before, and its invocation' }),
  verdict: verdict.meta({ description: 'As it would be' }),
  detail: z.string().optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  stdinBytes: z.int().optional(),
  group: z.object({ key: z.string(), max: z.int() }).optional(),
  errors: violations.optional(),
})

export type HookRunStatus = z.infer<typeof HookRun>

export const dryRunHook = createRoute({
  method: 'post',
  path: '/hooks/{name}/dry-run',
  summary: 'What a delivery would be made of; nothing is run or kept',
  description:
    'The request as its sender would send it. X-Oneshot-Authorization stands for the Authorization of the delivery.',
  request: { params: name, body: anyBody },
  responses: {
    200: {
      description: 'What would be run',
      content: json(
        z.object({
          verified: z.boolean(),
          reason: z.string().optional().meta({ description: 'Why it would be refused' }),
          bodyBytes: z.int(),
          messages: z.array(HookRun).meta({ description: 'One, or as many as a batch has' }),
        }),
      ),
    },
    400: refusal('It is no CloudEvent, where such are wanted'),
    ...noHook,
    413: refusal('Its body is too long'),
    415: refusal('Its body is compressed'),
  },
})
