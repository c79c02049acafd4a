import { STATUS_CODES } from 'node:http'
import { z } from 'zod'
import type { ErrorCode } from '../core/error.ts'
import { OneshotError } from '../core/error.ts'
import type { Failure, Outcome } from '../core/outcome.ts'
import { Unauthorized } from '../core/unauthorized.ts'

/** The only table of codes and statuses. */
export const STATUS = {
  bad_request: 400,
  unauthorized: 401,
  signature_invalid: 401,
  forbidden: 403,
  origin_refused: 403,
  not_found: 404,
  function_not_found: 404,
  invocation_not_found: 404,
  delivery_not_found: 404,
  hook_not_found: 404,
  hook_delivery_not_found: 404,
  method_not_allowed: 405,
  not_acceptable: 406,
  request_timeout: 408,
  key_in_use: 409,
  not_finished: 409,
  input_not_kept: 409,
  body_not_kept: 409,
  function_of_file: 409,
  precondition_failed: 412,
  input_too_large: 413,
  unsupported_media_type: 415,
  expectation_failed: 417,
  parameters_invalid: 422,
  key_reused: 422,
  callback_refused: 422,
  definition_invalid: 422,
  stdin_unsupported: 422,
  queue_full: 429,
  rate_limited: 429,
  internal: 500,
  data_locked: 500,
  data_unusable: 500,
  engine_failed: 502,
  image_not_found: 502,
  image_pull_failed: 502,
  command_not_found: 502,
  container_refused: 502,
  mount_not_found: 502,
  function_broken: 503,
  shutting_down: 503,
  engine_unreachable: 503,
  keys_unavailable: 503,
  unschedulable: 503,
  expired: 503,
  storage_full: 507,
} as const satisfies Record<ErrorCode, number>

export const PROBLEM_TYPE = 'application/problem+json'

/** An error's body, after RFC 9457. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().meta({ description: 'Stable: match on it', example: 'function_not_found' }),
    detail: z.string().meta({ description: 'What is wrong, and what to do' }),
    errors: z
      .array(z.object({ pointer: z.string(), detail: z.string() }))
      .optional()
      .meta({ description: 'Each thing that is wrong with the request, and where' }),
  })
  .meta({ id: 'Problem' })

export type Problem = z.infer<typeof Problem>

/** A fault is shown as `internal`, and nothing of it leaks. */
export function toProblem(error: unknown): Problem {
  const { code, message, violations } =
    error instanceof OneshotError
      ? error
      : new OneshotError('internal', 'The gateway failed; its log tells more.')
  const problem = createProblem(STATUS[code], code, message)
  return violations.length > 0 ? { ...problem, errors: [...violations] } : problem
}

/** Of what zod says of a part of the request that has names: its query, say. */
export function toBadRequest(issues: readonly z.core.$ZodIssue[]): OneshotError {
  const wrong = issues.map(({ path, message }) => `${path.join('.')} ${lowered(message)}`)
  return new OneshotError('bad_request', `Correct the query: ${wrong.join('; ')}.`)
}

function lowered(text: string): string {
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`
}

/** For an answer whose body can't tell of a failure otherwise. */
export function toOutcomeProblem(outcome: Outcome, { code, detail }: Failure): Problem {
  return createProblem(toEnvelopeStatus(outcome), code, detail)
}

function createProblem(status: number, code: ErrorCode, detail: string): Problem {
  return { type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, code, detail }
}

export function toHeaders(error: unknown): Record<string, string> {
  const { code, retryAfterSeconds: seconds } =
    error instanceof OneshotError ? error : { code: 'internal', retryAfterSeconds: undefined }
  return {
    'Content-Type': PROBLEM_TYPE,
    ...(seconds !== undefined && { 'Retry-After': String(seconds) }),
    ...(code === 'unauthorized' && { 'WWW-Authenticate': toChallenge(error) }),
    // What may still come of the request is not waited for (RFC 9110, 15.5.9).
    ...(code === 'request_timeout' && { Connection: 'close' }),
  }
}

/** RFC 6750, section 3: of who has shown nothing, no error is told. */
function toChallenge(error: unknown): string {
  const isInvalid = error instanceof Unauthorized && error.isInvalidToken
  return `Bearer realm="oneshot"${isInvalid ? ', error="invalid_token"' : ''}`
}

/** The status of an envelope. A command that ran to an end of its own is a success of ours, whatever its exit code. */
export function toEnvelopeStatus({ reason, failure }: Outcome): number {
  switch (reason) {
    case 'exited':
    case 'oom_killed':
      return 200
    case 'timed_out':
      return 504
    case 'not_started':
      return failure ? STATUS[failure.code] : 502
    case 'lost':
    case 'cancelled':
      return 503
  }
}
