import { toEnvelope } from '../core/envelope.ts'
import type { Answer, AnswerContext } from './answer.ts'
import { toEndHeaders, writeHead } from './answer.ts'
import { createCapture } from '../gateway/capture.ts'
import { toEnvelopeStatus } from './errors.ts'

/** The whole end as one JSON object, the output within it. */
export function createEnvelopeAnswer({
  outgoing,
  outputBytes,
  engine,
  isCut = false,
}: AnswerContext): Answer {
  const stdout = createCapture(outputBytes)
  const stderr = createCapture(outputBytes)
  return {
    stdout: stdout.write,
    stderr: stderr.write,
    end(invocation) {
      const whole = toEnvelope(invocation, stdout.captured(), stderr.captured(), engine)
      const envelope = { ...whole, truncated: whole.truncated || isCut }
      const body = Buffer.from(`${JSON.stringify(envelope)}\n`)
      writeHead(outgoing, toEnvelopeStatus(invocation.outcome), {
        ...toEndHeaders(invocation),
        'Content-Type': 'application/json',
        'Content-Length': body.length,
      })
      outgoing.end(body)
    },
    fail: () => void outgoing.destroy(),
  }
}
