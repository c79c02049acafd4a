/** One piece of output, as it came. */
export interface OutputFrame {
  readonly stream: 'stdout' | 'stderr'
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly bytes: Uint8Array
}

const HEADER_BYTES = 13
const STREAMS = ['stdout', 'stderr'] as const

/** A header (stream in a byte, time in 8, length in 4, big-endian), and the bytes. */
export function encodeFrame({ stream, at, bytes }: OutputFrame): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + bytes.length)
  const view = new DataView(frame.buffer)
  view.setUint8(0, STREAMS.indexOf(stream))
  view.setFloat64(1, at)
  view.setUint32(9, bytes.length)
  frame.set(bytes, HEADER_BYTES)
  return frame
}

/** The frames of a record that is read piece by piece. One that is cut off, as by a crash, is left out. */
export async function* decodeFrames(
  record: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<OutputFrame> {
  let held = new Uint8Array(0)
  for await (const chunk of record) {
    const bytes = held.length === 0 ? chunk : concat(held, chunk)
    let at = 0
    for (;;) {
      const frame = decodeFrame(bytes.subarray(at))
      if (!frame) break
      at += HEADER_BYTES + frame.bytes.length
      yield frame
    }
    held = bytes.slice(at)
  }
}

function decodeFrame(bytes: Uint8Array): OutputFrame | undefined {
  if (bytes.length < HEADER_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = view.getUint32(9)
  if (bytes.length < HEADER_BYTES + length) return undefined
  return {
    stream: STREAMS[view.getUint8(0)] ?? 'stdout',
    at: view.getFloat64(1),
    bytes: bytes.subarray(HEADER_BYTES, HEADER_BYTES + length),
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}
