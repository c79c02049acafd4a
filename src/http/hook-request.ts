import type { Context } from 'hono'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { HookRequest } from '../core/webhook/request.ts'
import { toHookHeaders } from '../core/webhook/request.ts'
import type { Env } from './app.ts'
import type { BodyReader, BodyRules } from './body.ts'
import { createBodyReader } from './body.ts'

/** The longest that GitHub sends; nobody is known to send more. */
const MAX_BODY_BYTES = 25 * 1024 ** 2
/** Of all deliveries together. Not out of what callers' parameters may take up: whoever sends here has not said yet who he is. */
const MAX_HELD_BYTES = 64 * 1024 ** 2
const DEADLINE_MS = 10_000

/** Hands a request over as it came, to its last byte. What `use` gives is the result; the body is held until then. */
export type DeliveryReader = <T>(
  c: Context<Env>,
  spec: FunctionSpec,
  use: (request: HookRequest) => Promise<T>,
) => Promise<T>

/** Throws `unsupported_media_type`, and what `BodyReader` does: a body is to come within 10 s. */
export function createDeliveryReader(clock: () => number): DeliveryReader {
  const readBody: BodyReader = createBodyReader(MAX_HELD_BYTES, clock)
  return async (c, { name, limits }, use) => {
    const { incoming, askForBody } = c.env
    const headers = toHookHeaders(incoming.rawHeaders)
    checkEncoding(headers.get('content-encoding'))
    const { searchParams: query } = new URL(incoming.url ?? '/', 'http://gateway')
    const deadlineAt = c.get('receivedAt') + DEADLINE_MS
    const rules = toRules(name, Math.min(limits.inputBytes, MAX_BODY_BYTES))
    return readBody(incoming, askForBody, deadlineAt, rules, (body) =>
      use({ headers, query, body }),
    )
  }
}

function toRules(functionName: string, maxBytes: number): BodyRules {
  return {
    maxBytes,
    what: 'deliveries',
    tooLarge() {
      const raise = maxBytes < MAX_BODY_BYTES ? `, or raise limits.input of ${functionName}` : ''
      const detail = `A delivery to this webhook has at most ${maxBytes} bytes: send less${raise}.`
      return new OneshotError('input_too_large', detail)
    },
    late: `The body of the delivery had not come after ${DEADLINE_MS / 1000} s: send it again, faster.`,
  }
}

/** What is signed are the bytes as they come; what a command reads should not depend on how they were packed. */
function checkEncoding(encodings: readonly string[] = []): void {
  if (encodings.every((each) => each.trim().toLowerCase() === 'identity')) return
  const detail = 'A delivery is taken as it is: send it without Content-Encoding.'
  throw new OneshotError('unsupported_media_type', detail)
}
