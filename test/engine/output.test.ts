import { Readable } from 'node:stream'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { copyOutput } from '../../src/engine/output.ts'

function frame(stream: 1 | 2, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8)
  header[0] = stream
  header.writeUInt32BE(data.length, 4)
  return Buffer.concat([header, data])
}

/** Cuts `bytes` at the places given, as a socket might. */
function cut(bytes: Buffer, places: number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort(
    (a, b) => a - b,
  )
  return [0, ...sorted].map((start, index) => bytes.subarray(start, sorted[index] ?? bytes.length))
}

async function collect(source: Readable, tty = false) {
  const stdout: Uint8Array[] = []
  const stderr: Uint8Array[] = []
  await copyOutput(
    source,
    { tty },
    { stdout: (c) => void stdout.push(c), stderr: (c) => void stderr.push(c) },
  )
  return { stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) }
}

describe('output', () => {
  test('is told apart whole and in order, wherever the connection cuts it', async () => {
    const frames = fc.array(
      fc.tuple(fc.constantFrom(1 as const, 2 as const), fc.uint8Array({ maxLength: 40 })),
    )
    await fc.assert(
      fc.asyncProperty(frames, fc.array(fc.nat()), async (pieces, places) => {
        const wire = Buffer.concat(pieces.map(([stream, data]) => frame(stream, data)))
        const of = (wanted: number) =>
          Buffer.concat(pieces.filter(([stream]) => stream === wanted).map(([, data]) => data))
        const { stdout, stderr } = await collect(Readable.from(cut(wire, places)))
        expect(stdout.equals(of(1))).toBe(true)
        expect(stderr.equals(of(2))).toBe(true)
      }),
    )
  })

  test.each([
    ['in a header', frame(1, Buffer.from('whole')).subarray(0, 4)],
    ['in a piece', frame(1, Buffer.from('whole')).subarray(0, 10)],
  ])('that breaks off %s is an error', async (_, wire) => {
    await expect(collect(Readable.from([wire]))).rejects.toThrow('broke off')
  })

  test('of a tty passes as it is', async () => {
    const { stdout } = await collect(Readable.from([Buffer.from('\u0001 no header')]), true)
    expect(stdout.toString()).toBe('\u0001 no header')
  })

  test('is read no further while the sink is busy', async () => {
    let read = 0
    const source = Readable.from(
      (function* () {
        for (read = 1; read <= 100; read += 1) yield frame(1, Buffer.alloc(10))
      })(),
      { highWaterMark: 1 },
    )
    const { promise: busy, resolve: free } = Promise.withResolvers<void>()
    let first = true
    const copying = copyOutput(
      source,
      { tty: false },
      {
        stdout: () => {
          if (!first) return undefined
          first = false
          return busy
        },
        stderr: () => {},
      },
    )
    await new Promise((resolve) => setImmediate(resolve))
    expect(read).toBeLessThan(5)
    free()
    await copying
    expect(read).toBe(101)
  })
})
