import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Envelope } from '../core/envelope.ts'
import type { Settled } from '../core/invocation.ts'
import type { Timings } from '../core/outcome.ts'
import type { Sink } from '../core/task.ts'
import type { Problem } from './errors.ts'

/** One call's answer, in one of the forms that a client can ask for. */
export interface Answer {
  readonly stdout: Sink
  readonly stderr: Sink
  started?(): void
  /** Says how the call ended, and ends the answer. */
  end(invocation: Settled): void
  /** Tells what went wrong when the head has been sent already, and ends the answer so that none takes it for whole. */
  fail(problem: Problem): void
  /** Lets go of what it holds, whether it was ended or not. */
  dispose?(): void
}

export interface AnswerContext {
  readonly outgoing: ServerResponse
  /** How much of each stream an envelope holds. */
  readonly outputBytes: number
  readonly engine: Envelope['engine']
  /** Some of the output is missing already. */
  readonly isCut?: boolean
  /** The end is known already. */
  readonly ended?: Settled
  /** Tells a client that waits with its body to send it: after the answer's head it would not send it any more. */
  readonly askForBody: () => void
}

export const EXIT_CODE = 'X-Oneshot-Exit-Code'
export const STATE = 'X-Oneshot-State'
export const INVOCATION = 'X-Oneshot-Invocation-Id'
/** `armed` or `cold`. */
const START = 'X-Oneshot-Start'
/** Not all that was printed is on record. */
export const TRUNCATED = 'X-Oneshot-Truncated'
export const CALL_ID = 'X-Call-Id'
export const DURATION = 'X-Duration-Seconds'
export const SERVER_TIMING = 'Server-Timing'

/** What every answer to a call that has ended says in its head, or in its trailer if the head is gone already. */
export function toEndHeaders({
  state,
  start,
  outcome,
  createdAt,
  finishedAt,
  timings,
}: Settled): Record<string, string> {
  return {
    [STATE]: state,
    [START]: start,
    ...(outcome.exitCode !== null && { [EXIT_CODE]: String(outcome.exitCode) }),
    [DURATION]: ((finishedAt - createdAt) / 1000).toFixed(3),
    [SERVER_TIMING]: toServerTiming(timings),
  }
}

/**
 * Announces what `toEndHeaders` gives as a trailer, for a head that is sent before the end is known. HTTP/1.0, which
 * some proxies speak, has no chunks to end in a trailer.
 */
export function toTrailerHeader(outgoing: ServerResponse): OutgoingHttpHeaders {
  if (!outgoing.useChunkedEncodingByDefault) return {}
  return { Trailer: [STATE, START, EXIT_CODE, DURATION, SERVER_TIMING].join(', ') }
}

/** Server Timing, W3C. */
function toServerTiming(timings: Timings): string {
  return Object.entries(timings)
    .map(([name, ms]) => `${name.replace(/Ms$/, '')};dur=${ms}`)
    .join(', ')
}

/** The answer's head, with what was set on it before. */
export function writeHead(
  outgoing: ServerResponse,
  status: number,
  headers: OutgoingHttpHeaders,
): void {
  if (!outgoing.headersSent && !outgoing.destroyed) outgoing.writeHead(status, headers)
}

/** Hands a chunk to the client; holds the next one back while the client is slower than the command. */
export function writeChunk(
  outgoing: ServerResponse,
  chunk: Uint8Array | string,
): void | Promise<void> {
  if (outgoing.destroyed || outgoing.write(chunk)) return undefined
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off('drain', done)
      outgoing.off('close', done)
      resolve()
    }
    outgoing.on('drain', done)
    outgoing.on('close', done)
  })
}
