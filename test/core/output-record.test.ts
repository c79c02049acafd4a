import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { OutputFrame } from '../../src/core/output-record.ts'
import { decodeFrames, encodeFrame } from '../../src/core/output-record.ts'

const frame = fc.record({
  stream: fc.constantFrom('stdout', 'stderr'),
  at: fc.oneof(fc.nat(), fc.constant(Date.UTC(2026, 10, 21)), fc.maxSafeNat()),
  bytes: fc.uint8Array({ maxLength: 300 }),
})

async function decode(chunks: Iterable<Uint8Array>): Promise<OutputFrame[]> {
  const frames = await Array.fromAsync(decodeFrames(chunks))
  return frames.map(({ stream, at, bytes }) => ({ stream, at, bytes: Uint8Array.from(bytes) }))
}

const encode = (frames: readonly OutputFrame[]) =>
  new Uint8Array(Buffer.concat(frames.map(encodeFrame)))

/** Cut at these places, in whatever order they come. */
function cut(record: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = places.map((place) => place % (record.length + 1)).sort((a, b) => a - b)
  return [...ends, record.length].map((end, index) => record.slice(ends[index - 1] ?? 0, end))
}

test('a record is read as it was written, in whatever pieces it comes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(frame), fc.array(fc.nat()), async (frames, places) => {
      expect(await decode(cut(encode(frames), places))).toEqual(frames)
    }),
  )
})

test('a record is read byte by byte', async () => {
  const frames: OutputFrame[] = [
    { stream: 'stdout', at: 1, bytes: new Uint8Array([1, 2, 3]) },
    { stream: 'stderr', at: 2, bytes: new Uint8Array() },
    { stream: 'stdout', at: 3, bytes: new Uint8Array([255]) },
  ]
  expect(await decode(Array.from(encode(frames), (byte) => new Uint8Array([byte])))).toEqual(frames)
})

test('of a record that is cut off all is read but the frame in which it ends', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { minLength: 1 }), fc.nat(), async (frames, place) => {
      const last = encodeFrame(frames.at(-1)!)
      const whole = encode(frames)
      const missing = 1 + (place % last.length)
      expect(await decode([whole.subarray(0, whole.length - missing)])).toEqual(frames.slice(0, -1))
    }),
  )
})

test('frames that end at the end of a piece are told before the next piece comes', async () => {
  const bytes = new Uint8Array([1])
  async function* record() {
    yield encodeFrame({ stream: 'stdout', at: 1, bytes })
    yield await Promise.reject(new Error('read on too early'))
  }
  const frames = decodeFrames(record())
  expect(await frames.next()).toMatchObject({ value: { at: 1, bytes } })
  await expect(frames.next()).rejects.toThrow('too early')
})

test('a record of nothing has no frames', async () => {
  expect(await decode([])).toEqual([])
  expect(await decode([new Uint8Array()])).toEqual([])
})
