import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import type { Pace } from '../../src/http/body.ts'
import { createBodyReader, streamBody, unlessStalled } from '../../src/http/body.ts'

function body(...chunks: readonly string[]) {
  const stream = Object.assign(new PassThrough({ highWaterMark: 1 << 20 }), { headers: {} })
  for (const chunk of chunks) stream.write(chunk)
  return stream
}

function reader(maxHeldBytes: number) {
  const readBody = createBodyReader(maxHeldBytes, Date.now)
  return (stream: ReturnType<typeof body>) =>
    readBody(stream as unknown as IncomingMessage, () => {}, Date.now() + 60_000)
}

describe('the reader of bodies', () => {
  test('gives back what came in pieces as one', async () => {
    const pieces = ['a'.repeat(10_000), 'b'.repeat(10_000), 'c'.repeat(30_000), 'd']
    const stream = body(...pieces)
    stream.end()
    expect(Buffer.from(await reader(1 << 20)(stream)).toString()).toBe(pieces.join(''))
  })

  test('holds only so much of all bodies at once, and refuses the rest until there is room', async () => {
    const read = reader(50_000)
    const first = body('a'.repeat(30_000))
    const reading = read(first)
    const second = body('b'.repeat(30_000))
    await expect(read(second)).rejects.toMatchObject({ code: 'queue_full', retryAfterSeconds: 1 })
    first.end()
    expect(await reading).toHaveLength(30_000)
    const third = body('c'.repeat(30_000))
    third.end()
    expect(await read(third)).toHaveLength(30_000)
  })

  test('gives back the room of a body that was broken off', async () => {
    const read = reader(50_000)
    const broken = body('a'.repeat(30_000))
    const reading = read(broken)
    broken.destroy(new Error('gone'))
    await expect(reading).rejects.toThrow('gone')
    const next = body('b'.repeat(30_000))
    next.end()
    expect(await read(next)).toHaveLength(30_000)
  })

  test('counts a body as held until whoever uses it is done, whether well or not', async () => {
    const read = createBodyReader(50_000, Date.now)
    const rules = {
      maxBytes: 40_000,
      what: 'deliveries',
      tooLarge: () => new OneshotError('input_too_large', 'too large'),
      late: 'late',
    }
    const readAnd = (length: number, use: (bytes: Uint8Array) => Promise<number>) => {
      const stream = body('a'.repeat(length))
      stream.end()
      const incoming = stream as unknown as IncomingMessage
      return read(incoming, () => {}, Date.now() + 60_000, rules, use)
    }
    const used = Promise.withResolvers<number>()
    const started = Promise.withResolvers<void>()
    const using = readAnd(30_000, () => {
      started.resolve()
      return used.promise
    })
    await started.promise
    const count = ({ length }: Uint8Array) => Promise.resolve(length)
    await expect(readAnd(30_000, count)).rejects.toMatchObject({ code: 'queue_full' })
    used.reject(new Error('refused'))
    await expect(using).rejects.toThrow('refused')
    expect(await readAnd(30_000, count)).toBe(30_000)
    await expect(readAnd(40_001, count)).rejects.toThrow('too large')
  })

  test('refuses a body above 2 MiB', async () => {
    const stream = body(...Array.from({ length: 3 }, () => 'a'.repeat(1 << 20)))
    await expect(reader(1 << 30)(stream)).rejects.toMatchObject({ code: 'input_too_large' })
  })
})

describe('the body of a call that nobody waits for', () => {
  const take = (stream: ReturnType<typeof body>, pace?: Pace) => {
    const incoming = stream as unknown as IncomingMessage
    return unlessStalled(
      incoming,
      streamBody(incoming, () => {}, Infinity, never),
      pace,
    )
  }
  const never = (): OneshotError => {
    throw new Error('it is not too long')
  }

  test('is passed on as it comes, and fails as it fails', async () => {
    const stream = body('a')
    const chunks = take(stream)[Symbol.asyncIterator]()
    expect(String((await chunks.next()).value)).toBe('a')
    stream.destroy(new Error('gone'))
    await expect(chunks.next()).rejects.toThrow('gone')
  })

  test('is refused when nothing of it comes any more', async () => {
    const chunks = take(body('some'), { bytes: 100, perMs: 10 })[Symbol.asyncIterator]()
    expect(String((await chunks.next()).value)).toBe('some')
    await expect(chunks.next()).rejects.toMatchObject({ code: 'request_timeout' })
  })

  test('is refused when it comes byte by byte, however long that goes on', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const stream = body()
    const chunks = take(stream, { bytes: 100, perMs: 60_000 })[Symbol.asyncIterator]()
    for (let second = 0; second < 55; second += 5) {
      const next = chunks.next()
      await vi.advanceTimersByTimeAsync(5_000)
      stream.write('a')
      expect(String((await next).value)).toBe('a')
    }
    const last = chunks.next()
    last.catch(() => {})
    await vi.advanceTimersByTimeAsync(5_000)
    await expect(last).rejects.toMatchObject({ code: 'request_timeout' })
  })

  test('may come slowly if it keeps the pace, and wait for a slow reader', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const stream = body()
    const chunks = take(stream, { bytes: 2, perMs: 60_000 })[Symbol.asyncIterator]()
    for (let round = 0; round < 10; round += 1) {
      const next = chunks.next()
      await vi.advanceTimersByTimeAsync(25_000)
      stream.write('a')
      expect(String((await next).value)).toBe('a')
      // The reader takes its time.
      await vi.advanceTimersByTimeAsync(1_000_000)
    }
  })
})
