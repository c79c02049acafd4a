import type { Settled } from '../core/invocation.ts'
import type { Answer, AnswerContext } from './answer.ts'
import { STATE, toEndHeaders, toTrailerHeader, writeChunk, writeHead } from './answer.ts'
import { PROBLEM_TYPE, toEnvelopeStatus, toOutcomeProblem } from './errors.ts'

/** Up to this much is held back until the exit code is known, which then stands in the head. */
const HELD_BYTES = 64 * 1024

/**
 * stdout as the body. A longer one streams: its head says 200 before the end is known, so the exit code follows in a
 * trailer, and a failure breaks the connection off, so that no client takes half an answer for a whole one. What the
 * engine failed at is told as a problem.
 */
export function createRawAnswer(
  { outgoing, askForBody }: AnswerContext,
  contentType: string,
): Answer {
  const held = Buffer.allocUnsafeSlow(HELD_BYTES)
  let heldBytes = 0
  let streaming = false

  function stdout(chunk: Uint8Array): void | Promise<void> {
    if (streaming) return writeChunk(outgoing, chunk)
    if (heldBytes + chunk.length <= HELD_BYTES) {
      held.set(chunk, heldBytes)
      heldBytes += chunk.length
      return undefined
    }
    streaming = true
    askForBody()
    writeHead(outgoing, 200, {
      'Content-Type': contentType,
      [STATE]: 'running',
      ...toTrailerHeader(outgoing),
    })
    void writeChunk(outgoing, held.subarray(0, heldBytes))
    return writeChunk(outgoing, chunk)
  }

  function end(invocation: Settled): void {
    const { outcome } = invocation
    if (streaming) {
      if (invocation.state !== 'succeeded') return breakOff()
      outgoing.addTrailers(toEndHeaders(invocation))
      outgoing.end()
      return
    }
    const { failure } = outcome
    const body = failure
      ? Buffer.from(JSON.stringify(toOutcomeProblem(outcome, failure)))
      : held.subarray(0, heldBytes)
    writeHead(outgoing, toRawStatus(invocation), {
      ...toEndHeaders(invocation),
      'Content-Type': failure ? PROBLEM_TYPE : contentType,
      'Content-Length': body.length,
    })
    outgoing.end(body)
  }

  function breakOff(): void {
    // Without chunks, as in HTTP/1.0, only a reset can be told from a whole answer's end.
    if (outgoing.chunkedEncoding) outgoing.destroy()
    else outgoing.socket?.resetAndDestroy()
  }

  return { stdout, stderr: () => {}, end, fail: breakOff }
}

/**
 * The same for a call whose end is known: however long the body is, status and exit code stand in its head. `length` is
 * undefined if it is not known.
 */
export function createKnownRawAnswer(
  { outgoing }: AnswerContext,
  contentType: string,
  invocation: Settled,
  length: number | undefined,
): Answer {
  let sent = 0
  const start = () =>
    writeHead(outgoing, toRawStatus(invocation), {
      ...toEndHeaders(invocation),
      'Content-Type': contentType,
      ...(length !== undefined && { 'Content-Length': length }),
    })
  return {
    stdout(chunk) {
      start()
      sent += chunk.length
      return writeChunk(outgoing, chunk)
    },
    stderr: () => {},
    end() {
      if (length !== undefined && sent < length && !outgoing.destroyed) {
        throw new Error(`${length - sent} bytes of the output of ${invocation.id} are gone`)
      }
      start()
      outgoing.end()
    },
    fail: () => void outgoing.destroy(),
  }
}

function toRawStatus({ state, outcome }: Settled): number {
  if (state === 'succeeded') return 200
  const isItsOwn = outcome.reason === 'exited' || outcome.reason === 'oom_killed'
  return isItsOwn ? 500 : toEnvelopeStatus(outcome)
}
