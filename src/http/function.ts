import { createHash } from 'node:crypto'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { Caller } from '../core/access.ts'
import { toRecordedName } from '../core/access.ts'
import type { TargetRules } from '../core/callback-target.ts'
import type { Envelope } from '../core/envelope.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation } from '../core/invocation.ts'
import { isSettled } from '../core/invocation.ts'
import type { Acceptor } from '../gateway/accept.ts'
import type { Catalog } from '../gateway/catalog.ts'
import type { Invocations } from '../gateway/invocations.ts'
import type { Metrics } from '../gateway/metrics.ts'
import type { Invoker, Running } from '../gateway/invoke.ts'
import { CALL_ID, INVOCATION } from './answer.ts'
import type { Env } from './app.ts'
import type { BodyReader } from './body.ts'
import { createBodyReader } from './body.ts'
import type { CallOptions } from './call-options.ts'
import { readCallOptions } from './call-options.ts'
import { during } from './during.ts'
import { toProblem } from './errors.ts'
import { readInput } from './input.ts'
import { refuseOtherMethods } from './methods.ts'
import type { Form } from './negotiate.ts'
import { negotiate } from './negotiate.ts'
import { acceptFunction, invokeFunction } from './openapi.ts'
import { answerStored, createAnswer, preferredForm } from './stored-answer.ts'

export interface FunctionRouteDeps {
  readonly catalog: Catalog
  readonly invoker: Invoker
  readonly acceptor: Acceptor
  readonly invocations: Invocations
  /** Where a request may have its outcome sent. */
  readonly callbackRules: TargetRules
  readonly engine: Envelope['engine']
  readonly metrics: Metrics
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** How much of parameters, of all calls together, is held while the rest of them comes. */
const MAX_HELD_BYTES = 64 * 1024 * 1024

/** What nginx made the custom for a client that left before its answer. */
const CLIENT_GONE = 499
/** When a call that was accepted may well have ended, in seconds. */
const RETRY_AFTER = 1

/** `POST /function/NAME` and `POST /async-function/NAME`. */
export function mountFunction(app: OpenAPIHono<Env>, deps: FunctionRouteDeps) {
  const { catalog, metrics, callbackRules, clock } = deps
  const readBody = createBodyReader(MAX_HELD_BYTES, clock)
  app.openAPIRegistry.registerPath(invokeFunction)
  app.openAPIRegistry.registerPath(acceptFunction)

  for (const [path, isAsync] of [
    ['/function/:name', false],
    ['/async-function/:name', true],
  ] as const) {
    app.post(path, async (c) => {
      const { outgoing } = c.env
      const spec = catalog.get(c.req.param('name'))
      const form = negotiate(c.req.header('Accept'), preferredForm(spec))
      outgoing.on('close', () => {
        const status = outgoing.headersSent ? outgoing.statusCode : CLIENT_GONE
        metrics.answered(spec.name, status, (clock() - c.get('receivedAt')) / 1000)
      })
      const options = readCallOptions(c.req.raw.headers, callbackRules, isAsync)
      if (options.callbackUrl !== undefined) checkMayHaveCallback(c.get('caller'))
      const isStored =
        options.waitMs !== undefined || options.key !== undefined || spec.retriesAreAsked
      const call = { c, spec, form, options, readBody }
      return isStored ? accept(deps, call) : invoke(deps, call)
    })
    refuseOtherMethods(app, path, 'POST')
  }
}

interface HttpCall {
  readonly c: Context<Env>
  readonly spec: FunctionSpec
  readonly form: Form
  readonly options: CallOptions
  readonly readBody: BodyReader
}

/** The caller waits for the command's end, which its leaving brings about. */
async function invoke(
  { invoker, engine }: FunctionRouteDeps,
  { c, spec, form, options, readBody }: HttpCall,
): Promise<Response> {
  const { incoming, outgoing, askForBody } = c.env
  let running: Running | undefined
  let tooLarge: OneshotError | undefined
  const receivedAt = c.get('receivedAt')
  const onTooLarge = (error: OneshotError) => {
    tooLarge = error
    running?.stop('cancelled')
  }
  const deadlineAt = receivedAt + spec.timeoutMs
  const input = await readInput({ incoming, askForBody, spec, deadlineAt, onTooLarge }, readBody)
  const { outputBytes } = spec.limits
  const answer = createAnswer(form, { outgoing, outputBytes, engine, askForBody })
  const { callbackUrl, labels } = options
  const { parameters, stdin } = input
  const callId = c.get('callId')
  running = invoker.invoke({
    spec,
    parameters,
    io: { stdin, answer },
    callId,
    labels,
    callbackUrl,
    receivedAt,
    caller: toRecordedName(c.get('caller')),
  })
  const { id, stop, end } = running
  const onClose = () => stop('cancelled')
  outgoing.on('close', onClose)
  if (outgoing.destroyed) onClose()
  outgoing.setHeader(CALL_ID, callId)
  outgoing.setHeader(INVOCATION, id)
  try {
    const settled = await end
    if (tooLarge) throw tooLarge
    answer.end(settled)
    return RESPONSE_ALREADY_SENT
  } catch (error) {
    if (outgoing.headersSent) answer.fail(toProblem(error))
    throw error
  } finally {
    outgoing.off('close', onClose)
    answer.dispose?.()
  }
}

/** The call is on disk before anything is answered; then its end is waited for as long as the caller would have it. */
async function accept(
  { acceptor, invocations, engine }: FunctionRouteDeps,
  { c, spec, form, options, readBody }: HttpCall,
): Promise<Response> {
  const { incoming, outgoing, askForBody } = c.env
  const { waitMs = Infinity, labels, callbackUrl, key } = options
  const caller = c.get('caller')
  const deadlineAt = c.get('receivedAt') + spec.timeoutMs
  const { parameters, stdin } = await readInput(
    { incoming, askForBody, spec, deadlineAt, onTooLarge: () => {} },
    readBody,
  )
  const callId = c.get('callId')
  const { id, isRepeated } = await acceptor.accept({
    spec,
    parameters,
    input: stdin,
    callId,
    labels,
    callbackUrl,
    caller: toRecordedName(caller),
    key: key === undefined ? undefined : toKey(key, spec, caller, parameters),
  })
  outgoing.setHeader(CALL_ID, callId)
  const invocation = await invocations.wait(id, during(outgoing, isRepeated ? 0 : waitMs))
  const isWhole = isSettled(invocation) && waitMs > 0
  if (isRepeated && !isWhole && waitMs > 0) {
    c.header('Location', `/invocations/${id}`)
    const detail = `The first request with this Idempotency-Key still runs: see /invocations/${id}.`
    throw new OneshotError('key_in_use', detail, { retryAfterSeconds: RETRY_AFTER })
  }
  if (isRepeated) outgoing.setHeader('Idempotency-Replayed', 'true')
  if (options.applied !== undefined) outgoing.setHeader('Preference-Applied', options.applied)
  if (isWhole) {
    return answerStored(invocation, form, { outgoing, invocations, engine, spec })
  }
  outgoing.setHeader('Location', `/invocations/${id}`)
  outgoing.setHeader('Retry-After', RETRY_AFTER)
  outgoing.setHeader(INVOCATION, id)
  return c.json({ id, function: spec.name, state: invocation.state }, 202)
}

/** Whom nobody knows could use the gateway to send requests to others. */
function checkMayHaveCallback({ kind }: Caller): void {
  if (kind !== 'anonymous') return
  const detail =
    'A callback takes an API key or a token: send one as "Authorization: Bearer …", or leave the callback out.'
  throw new OneshotError('unauthorized', detail)
}

/** No caller finds another one's call by its key. */
function toKey(
  key: string,
  { name }: FunctionSpec,
  { kind, name: caller }: Caller,
  parameters: Invocation['parameters'],
) {
  const scope = kind === 'anyone' ? name : `${name} ${kind}:${caller}`
  return { scope, key, fingerprint: digest(parameters) }
}

/** Of what came in JSON or in the query: the rest of a request is its input, which has a digest of its own. */
function digest(parameters: Invocation['parameters']): string {
  return createHash('sha256').update(JSON.stringify(parameters)).digest('hex')
}
