/** Why we refuse or fail. Stable: clients may match on it. `http/errors.ts` maps each to its status. */
export type ErrorCode =
  | 'function_not_found'
  | 'function_broken'
  | 'invocation_not_found'
  | 'delivery_not_found'
  | 'not_found'
  | 'hook_not_found'
  | 'hook_delivery_not_found'
  | 'unauthorized'
  | 'forbidden'
  | 'origin_refused'
  | 'rate_limited'
  | 'keys_unavailable'
  | 'signature_invalid'
  | 'definition_invalid'
  | 'function_of_file'
  | 'precondition_failed'
  | 'body_not_kept'
  | 'method_not_allowed'
  | 'bad_request'
  | 'not_acceptable'
  | 'request_timeout'
  | 'parameters_invalid'
  | 'input_too_large'
  | 'unsupported_media_type'
  | 'expectation_failed'
  | 'queue_full'
  | 'shutting_down'
  | 'engine_unreachable'
  | 'engine_failed'
  | 'image_not_found'
  | 'image_pull_failed'
  | 'command_not_found'
  | 'container_refused'
  | 'mount_not_found'
  | 'unschedulable'
  | 'stdin_unsupported'
  | 'data_locked'
  | 'data_unusable'
  | 'key_reused'
  | 'key_in_use'
  | 'callback_refused'
  | 'not_finished'
  | 'input_not_kept'
  | 'expired'
  | 'storage_full'
  | 'internal'

/** One thing that is wrong with a request, at `pointer` (RFC 6901, in URI fragment form: `#/name`). */
export interface Violation {
  readonly pointer: string
  readonly detail: string
}

export interface ErrorOptions {
  readonly cause?: unknown
  readonly violations?: readonly Violation[]
  /** Seconds after which the same request may well succeed. */
  readonly retryAfterSeconds?: number
}

/** A refusal, or a failure of the platform. A function's own failure is never thrown: it is an `Outcome`. */
export class OneshotError extends Error {
  override readonly name = 'OneshotError'
  readonly code: ErrorCode
  readonly violations: readonly Violation[]
  readonly retryAfterSeconds: number | undefined

  /** `detail` is shown to the client: it says what is wrong and what to do, and holds no secret. */
  constructor(code: ErrorCode, detail: string, options: ErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.violations = options.violations ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}
