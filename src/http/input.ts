import type { IncomingMessage, ServerResponse } from 'node:http'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation } from '../core/invocation.ts'
import { parseParameters } from '../core/parameters.ts'

/** As JSON, with room for escapes: a call's parameters are at most 1 MiB in all. */
const MAX_PARAMETER_BODY_BYTES = 2 * 1024 * 1024

export interface Input {
  readonly parameters: Invocation['parameters']
  /** The body for the command's stdin; undefined if the request has none, or if it was the parameters. */
  readonly stdin: AsyncIterable<Uint8Array> | undefined
}

/**
 * What a request gives the function. The body is not read but for parameters in JSON. A body that turns out longer than
 * the function allows ends `stdin` with an error, and is told to `onTooLarge` before that.
 */
export async function readInput(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  spec: FunctionSpec,
  onTooLarge: (error: OneshotError) => void,
): Promise<Input> {
  const { searchParams: query } = new URL(incoming.url ?? '/', 'http://gateway')
  const isParameters =
    spec.body === 'auto' &&
    Object.keys(spec.parameters).length > 0 &&
    hasBody(incoming) &&
    isJson(incoming)
  if (isParameters) {
    const json = await readJson(incoming, outgoing)
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
  return { parameters, stdin: readBody(incoming, outgoing, inputBytes, onOver) }
}

function hasBody({ headers }: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers
  return encoding !== undefined || (length !== undefined && length !== '0')
}

function isJson({ headers }: IncomingMessage): boolean {
  return /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i.test(headers['content-type'] ?? '')
}

async function* readBody(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  maxBytes: number,
  onOver: () => OneshotError,
): AsyncGenerator<Uint8Array> {
  // The client waits with its body until we want it.
  if (/^100-continue$/i.test(incoming.headers.expect ?? '')) outgoing.writeContinue()
  let bytes = 0
  // A reader that ends early must not take the connection down, which the answer still needs.
  for await (const chunk of incoming.iterator({
    destroyOnReturn: false,
  }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) throw onOver()
    yield chunk
  }
}

async function readJson(incoming: IncomingMessage, outgoing: ServerResponse): Promise<unknown> {
  const tooLarge = () =>
    new OneshotError(
      'input_too_large',
      `Parameters as JSON are at most ${MAX_PARAMETER_BODY_BYTES} bytes; what is larger belongs on stdin: "body: stdin" in the definition, and the parameters in the query.`,
    )
  const chunks: Uint8Array[] = []
  for await (const chunk of readBody(incoming, outgoing, MAX_PARAMETER_BODY_BYTES, tooLarge)) {
    chunks.push(chunk)
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)))
  } catch (error) {
    const detail = `The body is not valid JSON (${(error as Error).message}): send the parameters as a JSON object, such as {"name": "value"}.`
    throw new OneshotError('bad_request', detail, { cause: error })
  }
}
