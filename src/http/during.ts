import type { ServerResponse } from 'node:http'

/** Until the answer's connection has gone, or the answer is out. */
export function untilClosed(outgoing: ServerResponse): AbortSignal {
  const closed = new AbortController()
  // It may have gone while something else was awaited: then it says so no more.
  if (outgoing.destroyed) closed.abort()
  else outgoing.on('close', () => closed.abort())
  return closed.signal
}

/** The same, for `ms` milliseconds at most. */
export function during(outgoing: ServerResponse, ms: number): AbortSignal {
  if (ms <= 0) return AbortSignal.abort()
  const closed = untilClosed(outgoing)
  return ms === Infinity ? closed : AbortSignal.any([closed, AbortSignal.timeout(ms)])
}
