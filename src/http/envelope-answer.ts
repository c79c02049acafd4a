import { toEnvelope } from '../core/envelope.ts'
import type { Answer, AnswerContext } from './answer.ts'
import { toEndHeaders, writeHead } from './answer.ts'
import { createCapture } from './capture.ts'
import { toEnvelopeStatus } from './errors.ts'

/** The whole end as one JSON object, the output within it. */
export function createEnvelopeAnswer({ outgoing, spec, engine }: AnswerContext): Answer {
  const stdout = createCapture(spec.limits.outputBytes)
  const stderr = createCapture(spec.limits.outputBytes)
  return {
    stdout: stdout.write,
    stderr: stderr.write,
    end(invocation) {
      const envelope = toEnvelope(invocation, stdout.captured(), stderr.captured(), engine)
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
