import type { IncomingMessage } from 'node:http'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation } from '../core/invocation.ts'
import { parseParameters } from '../core/parameters.ts'
import type { BodyReader } from './body.ts'
import { streamBody, unlessStalled } from './body.ts'

export interface Input {
  readonly parameters: Invocation['parameters']
  /** The body for the command's stdin; undefined if the request has none, or if it was the parameters. */
  readonly stdin: AsyncIterable<Uint8Array> | undefined
}

export interface InputRequest {
  readonly incoming: IncomingMessage
  /** Tells a client that waits with its body to send it. */
  readonly askForBody: () => void
  readonly spec: FunctionSpec
  /** When the function's deadline runs out, in milliseconds since the epoch. */
  readonly deadlineAt: number
  /** Told when a streamed body turns out longer than the function allows, before `stdin` ends with the same error. */
  readonly onTooLarge: (error: OneshotError) => void
}

/** What a request gives the function. The body is not read but for parameters in JSON. */
export async function readInput(request: InputRequest, readBody: BodyReader): Promise<Input> {
  const { incoming, askForBody, spec, deadlineAt, onTooLarge } = request
  const { searchParams: query } = new URL(incoming.url ?? '/', 'http://gateway')
  const isParameters =
    spec.body === 'auto' &&
    Object.keys(spec.parameters).length > 0 &&
    hasBody(incoming) &&
    isJson(incoming)
  if (isParameters) {
    const json = parseJson(await readBody(incoming, askForBody, deadlineAt))
    return { parameters: parseParameters(spec.parameters, { query, json }), stdin: undefined }
  }
  const parameters = parseParameters(spec.parameters, { query })
  if (!hasBody(incoming)) return { parameters, stdin: undefined }
  const { inputBytes } = spec.limits
  const tooLarge = () =>
    new OneshotError(
      'input_too_large',
      `The body is longer than the ${inputBytes} bytes that ${spec.name} allows: send less, or raise limits.input in its definition.`,
    )
  if (Number(incoming.headers['content-length'] ?? 0) > inputBytes) throw tooLarge()
  const onOver = () => {
    const error = tooLarge()
    onTooLarge(error)
    return error
  }
  const body = streamBody(incoming, askForBody, inputBytes, onOver)
  return { parameters, stdin: unlessStalled(incoming, body) }
}

function hasBody({ headers }: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers
  return encoding !== undefined || (length !== undefined && length !== '0')
}

function isJson({ headers }: IncomingMessage): boolean {
  return /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(headers['content-type'] ?? '')
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch (error) {
    const detail = `The body is not valid JSON (${(error as Error).message}): send the parameters as a JSON object, such as {"name": "value"}.`
    throw new OneshotError('bad_request', detail, { cause: error })
  }
}
