import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Envelope } from '../core/envelope.ts'
import { OneshotError } from '../core/error.ts'
import type { Catalog } from '../gateway/catalog.ts'
import type { Metrics } from '../gateway/metrics.ts'
import type { Invoker, Running } from '../gateway/invoke.ts'
import type { Answer, AnswerContext } from './answer.ts'
import { CALL_ID, INVOCATION } from './answer.ts'
import type { Env } from './app.ts'
import { createBodyReader } from './body.ts'
import { createEnvelopeAnswer } from './envelope-answer.ts'
import { toProblem } from './errors.ts'
import { createEventAnswer } from './event-answer.ts'
import { readInput } from './input.ts'
import type { Form } from './negotiate.ts'
import { negotiate } from './negotiate.ts'
import { invokeFunction } from './openapi.ts'
import { createRawAnswer } from './raw-answer.ts'

export interface FunctionRouteDeps {
  readonly catalog: Catalog
  readonly invoker: Invoker
  readonly engine: Envelope['engine']
  readonly metrics: Metrics
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/** How much of parameters, of all calls together, is held while the rest of them comes. */
const MAX_HELD_BYTES = 64 * 1024 * 1024

/** What nginx made the custom for a client that left before its answer. */
const CLIENT_GONE = 499

/** `POST /function/NAME`. */
export function mountFunction(
  app: OpenAPIHono<Env>,
  { catalog, invoker, engine, metrics, clock }: FunctionRouteDeps,
) {
  const readBody = createBodyReader(MAX_HELD_BYTES, clock)
  app.openAPIRegistry.registerPath(invokeFunction)
  app.post('/function/:name', async (c) => {
    const { incoming, outgoing, askForBody } = c.env
    const spec = catalog.get(c.req.param('name'))
    const preferred = spec.response === 'raw' ? 'application/octet-stream' : 'application/json'
    const form = negotiate(c.req.header('Accept'), preferred)
    outgoing.on('close', () => {
      const status = outgoing.headersSent ? outgoing.statusCode : CLIENT_GONE
      metrics.answered(spec.name, status, (clock() - c.get('receivedAt')) / 1000)
    })
    let running: Running | undefined
    let tooLarge: OneshotError | undefined
    const receivedAt = c.get('receivedAt')
    const onTooLarge = (error: OneshotError) => {
      tooLarge = error
      running?.stop('cancelled')
    }
    const deadlineAt = receivedAt + spec.timeoutMs
    const input = await readInput({ incoming, askForBody, spec, deadlineAt, onTooLarge }, readBody)
    const answer = createAnswer(form, { outgoing, spec, engine, askForBody })
    const { stdout, stderr, started } = answer
    const io = { stdin: input.stdin, stdout, stderr, ...(started && { started }) }
    running = invoker.invoke({ spec, parameters: input.parameters, io, receivedAt })
    const { id, stop, end } = running
    const onClose = () => stop('cancelled')
    outgoing.on('close', onClose)
    if (outgoing.destroyed) onClose()
    outgoing.setHeader(CALL_ID, c.get('callId'))
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
  })
  app.all('/function/:name', (c) => {
    c.header('Allow', 'POST')
    throw new OneshotError('method_not_allowed', 'A function is called by POST.')
  })
}

function createAnswer(form: Form, context: AnswerContext): Answer {
  switch (form) {
    case 'application/json':
      return createEnvelopeAnswer(context)
    case 'text/event-stream':
      return createEventAnswer(context)
    case 'text/plain':
      return createRawAnswer(context, 'text/plain; charset=utf-8')
    case 'application/octet-stream':
      return createRawAnswer(context, form)
  }
}
