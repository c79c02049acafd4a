import type { IncomingMessage } from 'node:http'
import { OneshotError } from '../core/error.ts'

/** As JSON, with room for escapes: a call's parameters are at most 1 MiB in all. */
const MAX_BODY_BYTES = 2 * 1024 * 1024
const FIRST_BYTES = 16 * 1024
const STALL_MS = 60_000

/**
 * Reads a whole body of parameters. Throws `input_too_large` (above 2 MiB), `request_timeout` at `deadlineAt`
 * (milliseconds since the epoch), `queue_full` if too much is being read already, or the connection's own error.
 */
export type BodyReader = (
  incoming: IncomingMessage,
  askForBody: () => void,
  deadlineAt: number,
) => Promise<Uint8Array>

/** `maxHeldBytes` bounds the bodies that are being read at one time, of all calls together. */
export function createBodyReader(maxHeldBytes: number, clock: () => number): BodyReader {
  let heldBytes = 0

  function hold(bytes: number): void {
    if (heldBytes + bytes > maxHeldBytes) {
      const detail = 'The gateway reads as many parameters as it can hold: try again later.'
      throw new OneshotError('queue_full', detail, { retryAfterSeconds: 1 })
    }
    heldBytes += bytes
  }

  return async (incoming, askForBody, deadlineAt) => {
    if (Number(incoming.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLarge()
    const body = streamBody(incoming, askForBody, MAX_BODY_BYTES, tooLarge)
    const deadline = startDeadline(deadlineAt - clock())
    let buffer = Buffer.alloc(0)
    let length = 0
    try {
      for (;;) {
        const { done, value: chunk } = await Promise.race([body.next(), deadline.passed])
        if (done) return buffer.subarray(0, length)
        const wanted = length + chunk.length
        if (wanted > buffer.length) {
          const size = Math.min(Math.max(wanted, buffer.length * 2, FIRST_BYTES), MAX_BODY_BYTES)
          hold(size - buffer.length)
          const grown = Buffer.allocUnsafeSlow(size)
          buffer.copy(grown, 0, 0, length)
          buffer = grown
        }
        buffer.set(chunk, length)
        length = wanted
      }
    } finally {
      deadline.dispose()
      heldBytes -= buffer.length
    }
  }
}

/** The body as it comes, at its reader's pace. One that passes `maxBytes` ends with the error that `onOver` gives. */
export async function* streamBody(
  incoming: IncomingMessage,
  askForBody: () => void,
  maxBytes: number,
  onOver: () => OneshotError,
): AsyncGenerator<Uint8Array, undefined> {
  askForBody()
  let bytes = 0
  // A reader that ends early must not take the connection down, which the answer still needs.
  for await (const chunk of incoming.iterator({
    destroyOnReturn: false,
  }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) throw onOver()
    yield chunk
  }
  return undefined
}

/** The same for a body that nobody's deadline bounds: when nothing of it has come for so long, its connection is closed. */
export async function* unlessStalled(
  incoming: IncomingMessage,
  body: AsyncIterable<Uint8Array>,
  stallMs = STALL_MS,
): AsyncGenerator<Uint8Array, undefined> {
  const timer = setTimeout(() => {
    const detail = `Nothing of the body has come for ${stallMs / 1000} s: send it again, faster.`
    incoming.destroy(new OneshotError('request_timeout', detail))
  }, stallMs)
  try {
    for await (const chunk of body) {
      timer.refresh()
      yield chunk
    }
  } finally {
    clearTimeout(timer)
  }
  return undefined
}

function tooLarge(): OneshotError {
  const detail = `Parameters as JSON are at most ${MAX_BODY_BYTES} bytes; what is larger belongs on stdin: "body: stdin" in the definition, and the parameters in the query.`
  return new OneshotError('input_too_large', detail)
}

function startDeadline(ms: number): { readonly passed: Promise<never>; dispose(): void } {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => {})
  const detail =
    "The function's timeout ran out before its parameters had come: send them faster, or raise timeout in its definition."
  const timer = setTimeout(() => reject(new OneshotError('request_timeout', detail)), ms)
  return { passed: promise, dispose: () => clearTimeout(timer) }
}
