import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { createBodyReader, unlessStalled } from '../../src/http/body.ts'

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

  test('refuses a body above 2 MiB', async () => {
    const stream = body(...Array.from({ length: 3 }, () => 'a'.repeat(1 << 20)))
    await expect(reader(1 << 30)(stream)).rejects.toMatchObject({ code: 'input_too_large' })
  })
})

describe('the body of a call that nobody waits for', () => {
  const take = (stream: ReturnType<typeof body>, stallMs?: number) =>
    unlessStalled(stream as unknown as IncomingMessage, stream, stallMs)

  test('is passed on as it comes, and fails as it fails', async () => {
    const stream = body('a')
    const chunks = take(stream)[Symbol.asyncIterator]()
    expect(String((await chunks.next()).value)).toBe('a')
    stream.destroy(new Error('gone'))
    await expect(chunks.next()).rejects.toThrow('gone')
  })

  test('is refused when nothing of it comes any more', async () => {
    const chunks = take(body('some'), 10)[Symbol.asyncIterator]()
    expect(String((await chunks.next()).value)).toBe('some')
    await expect(chunks.next()).rejects.toMatchObject({ code: 'request_timeout' })
  })
})
