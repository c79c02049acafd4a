import type { IncomingMessage } from 'node:http'
import { OneshotError } from '../core/error.ts'

/** As JSON, with room for escapes: a call's parameters are at most 1 MiB in all. */
const MAX_BODY_BYTES = 2 * 1024 * 1024
const FIRST_BYTES = 16 * 1024
/** The pace that a sender must keep up: about what a bad line of the last century had. */
const LEAST_PACE: Pace = { bytes: 64 * 1024, perMs: 60_000 }

/** At least so many bytes in so many milliseconds of waiting for them. */
export interface Pace {
  readonly bytes: number
  readonly perMs: number
}

/** What is told of a body that can't be read to its end. */
export interface BodyRules {
  readonly maxBytes: number
  /** Such as "parameters". */
  readonly what: string
  readonly tooLarge: () => OneshotError
  readonly late: string
}

/**
 * Reads a whole body, which counts as held until `use` is done with it. Throws `input_too_large`, `request_timeout` at `deadlineAt` (milliseconds since the
 * epoch), `queue_full` if too much is being held already, or the connection's own error.
 */
export type BodyReader = <T = Uint8Array>(
  incoming: IncomingMessage,
  askForBody: () => void,
  deadlineAt: number,
  rules?: BodyRules,
  use?: (body: Uint8Array) => Promise<T>,
) => Promise<T>

/** `maxHeldBytes` bounds the bodies that are held at one time, of all calls together. */
export function createBodyReader(maxHeldBytes: number, clock: () => number): BodyReader {
  let heldBytes = 0

  function hold(bytes: number, what: string): void {
    if (heldBytes + bytes > maxHeldBytes) {
      const detail = `The gateway reads as many ${what} as it can hold: try again later.`
      throw new OneshotError('queue_full', detail, { retryAfterSeconds: 1 })
    }
    heldBytes += bytes
  }

  return async (
    incoming,
    askForBody,
    deadlineAt,
    rules = PARAMETERS,
    use = (body) => Promise.resolve(body as never),
  ) => {
    const { maxBytes, what, tooLarge, late } = rules
    if (Number(incoming.headers['content-length'] ?? 0) > maxBytes) throw tooLarge()
    const body = unlessStalled(incoming, streamBody(incoming, askForBody, maxBytes, tooLarge))
    const deadline = startDeadline(deadlineAt - clock(), late)
    let buffer = Buffer.alloc(0)
    let length = 0
    try {
      for (;;) {
        const { done, value: chunk } = await Promise.race([body.next(), deadline.passed])
        if (done) break
        const wanted = length + chunk.length
        if (wanted > buffer.length) {
          const size = Math.min(Math.max(wanted, buffer.length * 2, FIRST_BYTES), maxBytes)
          hold(size - buffer.length, what)
          const grown = Buffer.allocUnsafeSlow(size)
          buffer.copy(grown, 0, 0, length)
          buffer = grown
        }
        buffer.set(chunk, length)
        length = wanted
      }
      deadline.dispose()
      return await use(buffer.subarray(0, length))
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

/**
 * The same, unless its sender is too slow: then its connection is closed. Only the time counts that is spent waiting for it, not that of a reader who takes
 * his own; and the pace is that of the whole window, so that a byte now and then does not hold a connection for ever.
 */
export async function* unlessStalled(
  incoming: IncomingMessage,
  body: AsyncGenerator<Uint8Array, undefined>,
  pace = LEAST_PACE,
): AsyncGenerator<Uint8Array, undefined> {
  let waitedMs = 0
  let bytes = 0
  const giveUp = () => {
    const detail = `Less than ${pace.bytes} bytes of the body have come in ${pace.perMs / 1000} s: send it again, faster.`
    incoming.destroy(new OneshotError('request_timeout', detail))
  }
  try {
    for (;;) {
      const since = performance.now()
      const timer = setTimeout(giveUp, Math.max(0, pace.perMs - waitedMs))
      const { done, value: chunk } = await body.next().finally(() => clearTimeout(timer))
      if (done) return undefined
      waitedMs += performance.now() - since
      bytes += chunk.length
      if (bytes >= pace.bytes) {
        waitedMs = 0
        bytes = 0
      }
      yield chunk
    }
  } finally {
    await body.return(undefined)
  }
}

function tooLarge(): OneshotError {
  const detail = `Parameters as JSON are at most ${MAX_BODY_BYTES} bytes; what is larger belongs on stdin: "body: stdin" in the definition, and the parameters in the query.`
  return new OneshotError('input_too_large', detail)
}

const PARAMETERS: BodyRules = {
  maxBytes: MAX_BODY_BYTES,
  what: 'parameters',
  tooLarge,
  late: "The function's timeout ran out before its parameters had come: send them faster, or raise timeout in its definition.",
}

function startDeadline(
  ms: number,
  detail: string,
): { readonly passed: Promise<never>; dispose(): void } {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => {})
  const timer = setTimeout(() => reject(new OneshotError('request_timeout', detail)), ms)
  return { passed: promise, dispose: () => clearTimeout(timer) }
}
