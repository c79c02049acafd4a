import { z } from 'zod'
import type { Settled } from './invocation.ts'

const Time = z.iso.datetime()
const Encoding = z.enum(['utf8', 'base64'])

/** How a call ended, as JSON: the answer to a call, and what a callback brings. */
export const Envelope = z
  .object({
    id: z
      .string()
      .meta({ description: 'The invocation', example: '01977d9a-8f8e-7c3c-9d6e-0b6a3f1f2a11' }),
    function: z.string(),
    state: z.enum(['succeeded', 'failed', 'timed_out', 'cancelled', 'lost']),
    reason: z.enum(['exited', 'timed_out', 'cancelled', 'oom_killed', 'not_started', 'lost']),
    exitCode: z
      .int()
      .nullable()
      .meta({ description: '128 + n: killed by signal n. Null: there was none.' }),
    stdout: z.string(),
    stderr: z.string(),
    stdoutEncoding: Encoding.meta({ description: 'base64 if the output is not UTF-8' }),
    stderrEncoding: Encoding,
    truncated: z
      .boolean()
      .meta({ description: 'Some output was left out: it passed limits.output' }),
    error: z.object({ code: z.string(), detail: z.string() }).optional(),
    engine: z.enum(['container', 'swarm']),
    node: z.string().meta({ description: 'The host that ran it' }),
    createdAt: Time,
    startedAt: Time.nullable(),
    finishedAt: Time,
    durationMs: z.number().meta({ description: 'From the call to its end, waiting included' }),
    timings: z.object({
      queueMs: z.number().optional(),
      pullMs: z.number().optional(),
      createMs: z.number().optional(),
      startMs: z.number().optional(),
      runMs: z.number().optional(),
      collectMs: z.number().optional(),
    }),
  })
  .meta({ id: 'Envelope' })

export type Envelope = z.infer<typeof Envelope>

/** One captured stream. */
export interface Captured {
  readonly text: string
  readonly encoding: Envelope['stdoutEncoding']
  readonly truncated: boolean
}

export function toEnvelope(
  invocation: Settled,
  stdout: Captured,
  stderr: Captured,
  engine: Envelope['engine'],
): Envelope {
  const { outcome, createdAt, startedAt, finishedAt } = invocation
  return {
    id: invocation.id,
    function: invocation.functionName,
    state: invocation.state as Envelope['state'],
    reason: outcome.reason,
    exitCode: outcome.exitCode,
    stdout: stdout.text,
    stderr: stderr.text,
    stdoutEncoding: stdout.encoding,
    stderrEncoding: stderr.encoding,
    truncated: stdout.truncated || stderr.truncated,
    ...(outcome.failure && { error: outcome.failure }),
    engine,
    node: invocation.node,
    createdAt: new Date(createdAt).toISOString(),
    startedAt: startedAt === undefined ? null : new Date(startedAt).toISOString(),
    finishedAt: new Date(finishedAt).toISOString(),
    durationMs: finishedAt - createdAt,
    timings: invocation.timings,
  }
}
