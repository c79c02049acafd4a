import { isUtf8 } from 'node:buffer'
import type { Captured } from '../core/envelope.ts'
import type { Sink } from '../core/task.ts'

export interface Capture {
  readonly write: Sink
  captured(): Captured
}

const FIRST_BYTES = 4096

/** Keeps the first `maxBytes` of a stream and lets the rest go by. */
export function createCapture(maxBytes: number): Capture {
  // Copied, because a small piece would keep the whole buffer alive that it was read into.
  let kept = Buffer.allocUnsafeSlow(Math.min(FIRST_BYTES, maxBytes))
  let length = 0
  let truncated = false

  function write(chunk: Uint8Array): void {
    const wanted = Math.min(length + chunk.length, maxBytes)
    if (wanted < length + chunk.length) truncated = true
    if (wanted === length) return
    if (wanted > kept.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(wanted, kept.length * 2), maxBytes))
      kept.copy(grown, 0, 0, length)
      kept = grown
    }
    kept.set(chunk.subarray(0, wanted - length), length)
    length = wanted
  }

  function captured(): Captured {
    const bytes = kept.subarray(0, length)
    const text = truncated ? withoutCutCharacter(bytes) : bytes
    return isUtf8(text)
      ? { text: text.toString('utf8'), encoding: 'utf8', truncated }
      : { text: bytes.toString('base64'), encoding: 'base64', truncated }
  }

  return { write, captured }
}

/** The cap may fall into the midst of a character of UTF-8, which must not make a text look binary. */
function withoutCutCharacter(bytes: Buffer): Buffer {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back]!
    if (byte < 0x80) return bytes
    if (byte >= 0xc0) {
      const size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
      return size > back ? bytes.subarray(0, bytes.length - back) : bytes
    }
  }
  return bytes
}
