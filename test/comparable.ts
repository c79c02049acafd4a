import type { Envelope } from '../src/core/envelope.ts'

/** Whatever else an envelope has depends on the call alone. */
const OWN = new Set([
  'id',
  'function',
  'node',
  'createdAt',
  'startedAt',
  'finishedAt',
  'durationMs',
  'timings',
  'error',
])

/** What must be the same however a call was run: all but its names, its times, and an engine's own words. */
export function toComparable(envelope: Envelope): Readonly<Record<string, unknown>> {
  return {
    ...Object.fromEntries(Object.entries(envelope).filter(([key]) => !OWN.has(key))),
    hasStarted: envelope.startedAt !== null,
    errorCode: envelope.error?.code,
  }
}
