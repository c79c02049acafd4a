import type Docker from 'dockerode'
import type { ErrorCode } from '../core/error.ts'
import { OneshotError } from '../core/error.ts'
import type { Failure } from '../core/outcome.ts'
import { ANSWER_MS, ask, findStatus, isStatus, toEngineError, toMessage } from './docker.ts'

/** Why a task's command never ran. */
export class NotStarted extends Error {
  readonly failure: Failure

  constructor(code: ErrorCode, detail: string, cause?: unknown) {
    super(detail, { cause })
    this.failure = { code, detail }
  }
}

/** The command ran, or may have, and how it ended can't be known. */
export class Lost extends Error {
  readonly failure: Failure

  constructor(cause: unknown) {
    const why = isStatus(cause, 404)
      ? 'its container was removed by someone else'
      : toMessage(cause)
    super(why, { cause })
    this.failure = {
      code: 'engine_failed',
      detail: `The Docker engine failed while the command ran, and how it ended can't be known (${why}). It may have run in part: call again if that is safe.`,
    }
  }
}

export function isImageMissing(error: unknown): boolean {
  return isStatus(error, 404) && /no such image/i.test(toMessage(error))
}

/** An engine that can't be reached is a fault; anything else is why this task was not started. */
export function toNotStarted(error: unknown): unknown {
  const refused = error instanceof OneshotError && error.code !== 'engine_unreachable'
  return refused ? new NotStarted(error.code, error.message, error.cause) : error
}

/** The engine's refusal to create or start a container, in our words; other faults pass as they are. */
export function toRefusal(error: unknown): unknown {
  if (findStatus(error) === undefined || isStatus(error, 503)) return error
  const message = toMessage(error).trim()
  if (
    /executable file not found|no such file or directory.*exec|exec:.*(no such file|permission denied|is a directory)|exec format error/i.test(
      message,
    )
  ) {
    return new NotStarted(
      'command_not_found',
      `The command can't be run in this image: ${message}`,
      error,
    )
  }
  if (
    /bind source path does not exist|no such volume|invalid mount|error while mounting volume|failed to mount/i.test(
      message,
    )
  ) {
    return new NotStarted('mount_not_found', `A mount can't be made: ${message}`, error)
  }
  return new NotStarted(
    'container_refused',
    `The engine refused to start the container: ${message}`,
    error,
  )
}

/** An engine on its way out refuses what it would have done: a new connection shows whether it is there to stand by its word. */
export async function confirmed(docker: Docker, error: unknown): Promise<unknown> {
  if (!(error instanceof NotStarted) || (findStatus(error.cause) ?? 0) < 500) return error
  const ping = { method: 'GET', path: '/_ping', afresh: true, withinMs: ANSWER_MS } as const
  return ask(docker, ping).then(() => error, toEngineError)
}
