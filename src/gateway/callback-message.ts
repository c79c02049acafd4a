import type { Delivery, StreamedBody } from '../core/callback.ts'
import type { Envelope } from '../core/envelope.ts'
import { toEnvelope } from '../core/envelope.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Settled } from '../core/invocation.ts'
import type { OutputFrame } from '../core/output-record.ts'
import { createSigner } from '../core/signature.ts'
import type { Spool, Store } from '../store/store.ts'
import { createCapture } from './capture.ts'

export interface MessageDeps {
  readonly store: Store
  readonly spool: Spool
  /** With each of them a signature is made. */
  readonly secrets: readonly Uint8Array[]
  readonly findSpec: (functionName: string) => FunctionSpec | undefined
  readonly engine: Envelope['engine']
}

/** What a receiver gets of an outcome. */
export interface Message {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | StreamedBody
}

/** Of a function that is not there any more. */
const OUTPUT_BYTES = 1024 ** 2

/** As it is sent `at` that time. Rejects with the signal's reason. */
export async function composeMessage(
  { store, spool, secrets, findSpec, engine }: MessageDeps,
  { id, callback: { format } }: Delivery,
  invocation: Settled,
  at: number,
  signal: AbortSignal,
): Promise<Message> {
  const output = await store.invocations.findOutput(invocation.id)
  const signer = createSigner({ id, at, secrets })
  const { type, body } = format === 'raw' ? await toRaw() : toJson(await toEvent())
  const headers = {
    'content-type': type,
    ...signer.toHeaders(),
    'x-call-id': invocation.callId,
    'x-oneshot-invocation-id': invocation.id,
    'x-function-name': invocation.functionName,
    'x-function-status': toStatus(invocation),
    'x-duration-seconds': ((invocation.finishedAt - invocation.createdAt) / 1000).toFixed(3),
  }
  return { headers, body }

  /** Read twice, as it may be long: to be signed, and to be sent. */
  async function toRaw() {
    let length = 0
    for await (const bytes of readStdout()) {
      signal.throwIfAborted()
      signer.update(bytes)
      length += bytes.length
    }
    return { type: 'application/octet-stream', body: { length, read: readStdout } }
  }

  /** Nothing is opened before the first of it is asked for: nobody may ever do so. */
  async function* readStdout(): AsyncGenerator<Uint8Array> {
    for await (const { stream, bytes } of readFrames()) if (stream === 'stdout') yield bytes
  }

  function readFrames(): AsyncIterable<OutputFrame> | [] {
    return output ? spool.readOutput(invocation.id, output) : []
  }

  async function toEvent() {
    const { outputBytes } = findSpec(invocation.functionName)?.limits ?? {
      outputBytes: OUTPUT_BYTES,
    }
    const captures = { stdout: createCapture(outputBytes), stderr: createCapture(outputBytes) }
    for await (const { stream, bytes } of readFrames()) {
      signal.throwIfAborted()
      void captures[stream].write(bytes)
    }
    const { stdout, stderr } = captures
    const envelope = toEnvelope(invocation, stdout.captured(), stderr.captured(), engine)
    const whole = { ...envelope, truncated: envelope.truncated || output?.truncated === true }
    const time = new Date(invocation.finishedAt).toISOString()
    const type = 'invocation.completed'
    if (format !== 'cloudevents') {
      return { type: 'application/json', value: { type, timestamp: time, data: whole } }
    }
    const value = {
      specversion: '1.0',
      id,
      source: `/function/${invocation.functionName}`,
      type: `oneshot.${type}`,
      subject: invocation.id,
      time,
      datacontenttype: 'application/json',
      data: whole,
    }
    return { type: 'application/cloudevents+json', value }
  }

  function toJson({ type, value }: { type: string; value: object }) {
    const body = Buffer.from(JSON.stringify(value))
    signer.update(body)
    return { type, body }
  }
}

/** As OpenFaaS has it: the status that a caller who waits would have got. */
function toStatus({ outcome, state }: Settled): string {
  if (state === 'succeeded') return '200'
  switch (outcome.reason) {
    case 'exited':
    case 'oom_killed':
      return '500'
    case 'timed_out':
      return '504'
    case 'not_started':
      return '502'
    case 'cancelled':
    case 'lost':
      return '503'
  }
}
