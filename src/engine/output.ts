import type { Readable } from 'node:stream'
import type { Sink } from '../core/task.ts'

const HEADER_BYTES = 8
const STDERR = 2
/** What a swarm's manager could not get from a node. */
const SYSTEM_ERROR = 3

export interface Output {
  readonly stdout: Sink
  readonly stderr: Sink
}

/**
 * Hands an attached container's output on as it comes, the next bytes only when the sink has taken the last.
 * Returns at the stream's end; rejects if it breaks off in the midst of a piece or the connection fails.
 */
export async function copyOutput(
  source: Readable,
  { tty }: { readonly tty: boolean },
  { stdout, stderr }: Output,
): Promise<void> {
  if (tty) {
    for await (const chunk of source as AsyncIterable<Buffer>) await stdout(chunk)
    return
  }
  await demultiplex(source, (isStderr, bytes) => (isStderr ? stderr : stdout)(bytes))
}

/**
 * Takes apart what the engine multiplexes of a container without a tty: a header of 8 bytes (stream, 0, 0, 0, length in
 * 4 bytes, big-endian) before each piece. A piece may come in parts, of which `isLast` tells the last. Rejects if the
 * stream breaks off in the midst of a piece, or tells of an error.
 */
export async function demultiplex(
  source: Readable,
  take: (isStderr: boolean, bytes: Buffer, isLast: boolean) => void | Promise<void>,
): Promise<void> {
  const header = Buffer.alloc(HEADER_BYTES)
  let headerLength = 0
  let left = 0
  for await (const chunk of source as AsyncIterable<Buffer>) {
    let at = 0
    while (at < chunk.length) {
      if (left > 0) {
        const end = Math.min(at + left, chunk.length)
        left -= end - at
        if (header[0] === SYSTEM_ERROR) throw new Error(chunk.toString('utf8', at, end))
        const taken = take(header[0] === STDERR, chunk.subarray(at, end), left === 0)
        if (taken) await taken
        at = end
      } else {
        const copied = chunk.copy(header, headerLength, at, at + HEADER_BYTES - headerLength)
        at += copied
        headerLength += copied
        if (headerLength === HEADER_BYTES) {
          left = header.readUInt32BE(4)
          headerLength = 0
        }
      }
    }
  }
  if (left > 0 || headerLength > 0) throw new Error("the engine's output stream broke off")
}
