import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { ServerResponse } from 'node:http'
import type { Envelope } from '../core/envelope.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Settled } from '../core/invocation.ts'
import type { Invocations } from '../gateway/invocations.ts'
import type { Answer, AnswerContext } from './answer.ts'
import { INVOCATION, TRUNCATED } from './answer.ts'
import { untilClosed } from './during.ts'
import { createEnvelopeAnswer } from './envelope-answer.ts'
import { toProblem } from './errors.ts'
import { createEventAnswer } from './event-answer.ts'
import type { Form } from './negotiate.ts'
import { createKnownRawAnswer, createRawAnswer } from './raw-answer.ts'

/** Of a function that is not there any more. */
const OUTPUT_BYTES = 1024 ** 2

export function createAnswer(form: Form, context: AnswerContext): Answer {
  switch (form) {
    case 'application/json':
      return createEnvelopeAnswer(context)
    case 'text/event-stream':
      return createEventAnswer(context)
    case 'text/plain':
    case 'application/octet-stream':
      return createRawAnswer(context, toContentType(form))
  }
}

function toContentType(form: 'text/plain' | 'application/octet-stream'): string {
  return form === 'text/plain' ? `${form}; charset=utf-8` : form
}

export function preferredForm(spec: FunctionSpec | undefined): Form {
  return spec?.response === 'raw' ? 'application/octet-stream' : 'application/json'
}

export interface StoredAnswerContext {
  readonly outgoing: ServerResponse
  readonly invocations: Invocations
  readonly engine: Envelope['engine']
  readonly spec: FunctionSpec | undefined
}

/** The answer that a call would have had whose caller had waited, from what is on record of it. */
export async function answerStored(
  invocation: Settled,
  form: Form,
  { outgoing, invocations, engine, spec }: StoredAnswerContext,
): Promise<Response> {
  outgoing.setHeader(INVOCATION, invocation.id)
  const stored = await invocations.findOutput(invocation)
  if (stored.truncated) outgoing.setHeader(TRUNCATED, 'true')
  const outputBytes = spec?.limits.outputBytes ?? OUTPUT_BYTES
  const isCut = stored.truncated
  // What could not be written, of a full disk, is counted all the same.
  const length = isCut ? undefined : stored.stdoutBytes
  const context = { outgoing, outputBytes, engine, isCut, askForBody: () => {}, ended: invocation }
  const isRaw = form === 'text/plain' || form === 'application/octet-stream'
  const answer =
    isRaw && !invocation.outcome.failure
      ? createKnownRawAnswer(context, toContentType(form), invocation, length)
      : createAnswer(form, context)
  const closed = untilClosed(outgoing)
  try {
    if (invocation.startedAt !== undefined) answer.started?.()
    for await (const { frames } of invocations.output(invocation.id, false, closed)) {
      for await (const { stream, bytes } of frames) {
        if (closed.aborted) break
        await answer[stream](bytes)
      }
    }
    answer.end(invocation)
  } catch (error) {
    // It may have been forgotten while it was read, its file first of all.
    if (!outgoing.headersSent) await invocations.get(invocation.id)
    else answer.fail(toProblem(error))
    throw error
  } finally {
    answer.dispose?.()
  }
  return RESPONSE_ALREADY_SENT
}
