import { createRoute, z } from '@hono/zod-openapi'
import { Envelope } from '../core/envelope.ts'
import { FUNCTION_NAME } from '../gateway/catalog-entry.ts'
import { PROBLEM_TYPE, Problem } from './errors.ts'

export const json = (schema: z.ZodType) => ({ 'application/json': { schema } })
export const problem = { [PROBLEM_TYPE]: { schema: Problem } }

export const refusal = (description: string) => ({ description, content: problem })

/** A caller's own id that is safe to log and to send back. Another one is not refused: ours takes its place. */
export const CallId = z
  .string()
  .regex(/^[\w.:-]{1,128}$/)
  .meta({ description: 'Comes back in the answer; one that does not fit is replaced by ours' })

export const functionName = z.object({
  // Not checked here: another name is that of no function, hence 404 and not 400.
  name: z.string().meta({
    param: { name: 'name', in: 'path' },
    pattern: FUNCTION_NAME.source,
    example: 'hello',
  }),
})

/** Of one function, for a list. */
export const FunctionSummary = z
  .object({
    name: z.string(),
    state: z.enum(['ready', 'broken']),
    origin: z
      .enum(['file', 'api'])
      .meta({ description: 'Where it comes from: a file of the folder, or PUT /functions/NAME' }),
    updatedAt: z.string().optional().meta({ description: 'When it was deployed' }),
    updatedBy: z.string().optional().meta({ description: 'Who deployed it' }),
    description: z.string().optional(),
    image: z.string().optional(),
    problems: z.array(z.string()).optional().meta({ description: 'Why it is broken' }),
  })
  .meta({ id: 'FunctionSummary' })

/** One function, as its definition says it. */
export const FunctionDetail = z
  .object({
    ...FunctionSummary.shape,
    file: z.string().optional().meta({ description: 'Its name, if it is one' }),
    imageDigest: z.string().optional().meta({ description: 'Of the image that the engine has' }),
    warnings: z.array(z.string()),
    cold: z
      .string()
      .optional()
      .meta({ description: 'Why no container is armed for its calls; absent if they can be' }),
    definition: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'As written; values that look like secrets are masked' }),
  })
  .meta({ id: 'FunctionDetail' })

export const listFunctions = createRoute({
  method: 'get',
  path: '/functions',
  summary: 'The functions, broken ones included',
  responses: {
    200: {
      description: 'All functions, by name',
      content: json(z.object({ functions: z.array(FunctionSummary) })),
    },
  },
})

export const getFunction = createRoute({
  method: 'get',
  path: '/functions/{name}',
  summary: 'One function',
  request: { params: functionName },
  responses: {
    200: { description: 'Its definition and state', content: json(FunctionDetail) },
    404: { description: 'There is no such function', content: problem },
  },
})

export const getMetrics = createRoute({
  method: 'get',
  path: '/metrics',
  summary: 'Metrics, for Prometheus',
  responses: {
    200: { description: 'All of them', content: { 'text/plain': { schema: z.string() } } },
  },
})

export const getHealth = createRoute({
  method: 'get',
  path: '/healthz',
  summary: 'The gateway lives',
  responses: {
    200: { description: 'It does', content: json(z.object({ status: z.literal('ok') })) },
  },
})

export const getReadiness = createRoute({
  method: 'get',
  path: '/readyz',
  summary: 'The gateway takes calls, and its engine answers',
  responses: {
    200: {
      description: 'Both',
      content: json(
        z.object({
          status: z.literal('ready'),
          engine: z
            .object({
              kind: z.enum(['container', 'swarm']),
              name: z.string(),
              version: z.string(),
              os: z.string(),
              warnings: z.array(z.string()),
            })
            .optional()
            .meta({ description: 'For callers with the scope read' }),
        }),
      ),
    },
    503: { description: 'It is shutting down, or the engine does not answer', content: problem },
  },
})

const envelopeOrProblem = (description: string) => ({
  description,
  content: { ...json(Envelope), ...problem },
})

const acceptedCall = {
  description: 'The call and its input are on disk: Location names it',
  content: json(z.object({ id: z.string(), function: z.string(), state: z.string() })),
}

export const invokeFunction = createRoute({
  method: 'post',
  path: '/function/{name}',
  summary: 'Call a function and wait for its end',
  description:
    "The body is the command's stdin, or, as JSON, the parameters of a function that declares some. Parameters may also stand in the query.",
  request: {
    params: functionName,
    headers: z.object({
      'X-Call-Id': CallId.optional(),
      Prefer: z
        .string()
        .optional()
        .meta({ description: '`respond-async`, or `wait=N` (RFC 7240)' }),
      'Idempotency-Key': z.string().optional(),
      'X-Callback-Url': z
        .string()
        .optional()
        .meta({ description: 'Where the outcome is sent; X-Oneshot-Callback-Url is the same' }),
      'X-Oneshot-Labels': z.string().optional(),
    }),
    body: { content: { 'application/octet-stream': { schema: z.string() } } },
  },
  responses: {
    202: acceptedCall,
    200: {
      description: 'The command ran to an end of its own, whatever its exit code',
      content: {
        ...json(Envelope),
        'text/plain': { schema: z.string() },
        'application/octet-stream': { schema: z.string() },
        'text/event-stream': { schema: z.string() },
      },
    },
    400: refusal('The body is not valid JSON, or the request cannot be read'),
    404: refusal('There is no such function'),
    405: refusal('A function is called by POST'),
    409: refusal('The first request with this Idempotency-Key still runs: Location names it'),
    406: refusal('The answer has none of the forms that Accept names'),
    408: refusal("The parameters had not come when the function's timeout ran out"),
    413: envelopeOrProblem('The body is longer than the function allows, or the engine'),
    417: refusal('Expect names something other than 100-continue'),
    422: envelopeOrProblem(
      'Parameters are unknown, missing or wrong, or there is no stdin for the input',
    ),
    429: refusal('The queue is full: Retry-After says when to try again'),
    500: {
      description: 'The command failed; asked for as text/plain or application/octet-stream only',
    },
    502: envelopeOrProblem('The command could not be started'),
    503: envelopeOrProblem(
      'The engine does not answer, failed or has no room, or the definition is broken',
    ),
    504: envelopeOrProblem('The command was stopped at its timeout'),
    507: refusal('The disk of the data folder is full'),
  },
})

export const acceptFunction = createRoute({
  method: 'post',
  path: '/async-function/{name}',
  summary: 'Call a function and do not wait for it',
  description: 'As POST /function/{name} with "Prefer: respond-async".',
  request: invokeFunction.request,
  responses: {
    202: acceptedCall,
    404: refusal('There is no such function'),
    422: refusal('Parameters are unknown, missing or wrong, or the callback may not go there'),
    429: refusal('Too many calls wait: Retry-After says when to try again'),
    507: refusal('The disk of the data folder is full'),
  },
})
