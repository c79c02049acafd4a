import { access, mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { OutputFrame } from '../../src/core/output-record.ts'
import { decodeFrames } from '../../src/core/output-record.ts'
import { createRecorder } from '../../src/store/recorder.ts'
import type { Recorder } from '../../src/store/store.ts'
import { makeFolder } from './fixtures.ts'

const MIB = 1024 ** 2
const KIB = 1024
const HEADER_BYTES = 13
const forever = new AbortController().signal

async function setUp(maxBytes = 10 * MIB) {
  const path = join(await makeFolder(), 'output')
  let time = 0
  return { path, recorder: createRecorder({ path, maxBytes, clock: () => (time += 1) }) }
}

const bytesOf = (text: string) => Buffer.from(text)

async function textOf(frames: AsyncIterable<OutputFrame>, wanted?: OutputFrame['stream']) {
  let text = ''
  for await (const { stream, bytes } of frames) {
    if (wanted === undefined || stream === wanted) text += Buffer.from(bytes).toString()
  }
  return text
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

describe('what is short', () => {
  test('is kept in memory, in order, with its streams and times', async () => {
    const { path, recorder } = await setUp()
    expect(recorder.write('stdout', bytesOf('a'))).toBeUndefined()
    expect(recorder.write('stderr', bytesOf('bc'))).toBeUndefined()
    expect(recorder.write('stdout', bytesOf(''))).toBeUndefined()
    const { frames, ...facts } = await recorder.finish()
    expect(facts).toEqual({ stdoutBytes: 1, stderrBytes: 2, truncated: false })
    expect(await Array.fromAsync(decodeFrames([frames!]))).toMatchObject([
      { stream: 'stdout', at: 1, bytes: bytesOf('a') },
      { stream: 'stderr', at: 2, bytes: bytesOf('bc') },
    ])
    expect(await isThere(path)).toBe(false)
  })

  test('is copied: the memory may be used again', async () => {
    const { recorder } = await setUp()
    const chunk = bytesOf('a')
    void recorder.write('stdout', chunk)
    chunk.fill('b')
    expect(await textOf(recorder.read())).toBe('a')
  })

  test('is kept in memory up to 16 KiB with its headers, and beyond that in the file', async () => {
    const { path, recorder } = await setUp()
    expect(recorder.write('stdout', Buffer.alloc(16 * KIB - HEADER_BYTES, 'a'))).toBeUndefined()
    expect(await isThere(path)).toBe(false)
    await recorder.write('stdout', bytesOf('b'))
    const output = await recorder.finish()
    expect(output).toEqual({
      frames: undefined,
      stdoutBytes: 16 * KIB - HEADER_BYTES + 1,
      stderrBytes: 0,
      truncated: false,
    })
    expect(await readFile(path)).toHaveLength(16 * KIB + HEADER_BYTES + 1)
  })
})

describe('what is long', () => {
  test('is whole although it has no newline', async () => {
    const { path, recorder } = await setUp()
    const whole = Buffer.alloc(MIB, 'abcdefg')
    for (let at = 0; at < MIB; at += 64 * KIB) {
      await recorder.write('stdout', whole.subarray(at, at + 64 * KIB))
    }
    await recorder.finish()
    const parts = await Array.fromAsync(decodeFrames([await readFile(path)]))
    expect(Buffer.concat(parts.map(({ bytes }) => bytes)).equals(whole)).toBe(true)
    expect(await textOf(recorder.read())).toBe(whole.toString())
  })

  test('is whole in one piece of a megabyte', async () => {
    const { recorder } = await setUp()
    const whole = Buffer.alloc(MIB, 'xyz')
    await recorder.write('stdout', whole)
    expect(await textOf(recorder.read())).toBe(whole.toString())
    expect(await recorder.finish()).toMatchObject({ stdoutBytes: MIB, truncated: false })
  })

  test('is in order although nobody waits for the writes, and short pieces follow long ones', async () => {
    const sizes = fc.array(fc.oneof(fc.nat(20), fc.integer({ min: 10 * KIB, max: 20 * KIB })), {
      minLength: 1,
      maxLength: 12,
    })
    await fc.assert(
      fc.asyncProperty(sizes, async (given) => {
        const { recorder } = await setUp()
        const pieces = given.map((size, index) => Buffer.alloc(size, index + 1))
        for (const [index, piece] of pieces.entries()) {
          void recorder.write(index % 2 === 0 ? 'stdout' : 'stderr', piece)
        }
        const following = Array.fromAsync(recorder.follow(forever))
        const { stdoutBytes, stderrBytes } = await recorder.finish()
        const whole = Buffer.concat(pieces)
        expect(stdoutBytes + stderrBytes).toBe(whole.length)
        for (const frames of [await Array.fromAsync(recorder.read()), await following]) {
          expect(Buffer.concat(frames.map(({ bytes }) => bytes)).equals(whole)).toBe(true)
        }
      }),
      { numRuns: 30 },
    )
  })
})

describe('the cap', () => {
  test.each([
    ['in memory', 10],
    ['in the file', 100 * KIB],
  ])('keeps the beginning and tells that some was left out: %s', async (_, maxBytes) => {
    const { recorder } = await setUp(maxBytes)
    await recorder.write('stdout', Buffer.alloc(maxBytes - 4, 'a'))
    await recorder.write('stderr', bytesOf('bcdefgh'))
    await recorder.write('stdout', bytesOf('i'))
    const output = await recorder.finish()
    expect(output).toMatchObject({ stdoutBytes: maxBytes - 4, stderrBytes: 4, truncated: true })
    expect(await textOf(recorder.read(), 'stderr')).toBe('bcde')
    expect(await textOf(recorder.read(), 'stdout')).toHaveLength(maxBytes - 4)
  })

  test('that is just reached leaves nothing out', async () => {
    const { recorder } = await setUp(3)
    void recorder.write('stdout', bytesOf('abc'))
    void recorder.write('stdout', bytesOf(''))
    expect(await recorder.finish()).toMatchObject({ stdoutBytes: 3, truncated: false })
  })

  test('of nothing keeps nothing', async () => {
    const { recorder } = await setUp(0)
    void recorder.write('stdout', bytesOf('a'))
    const output = await recorder.finish()
    expect(output).toMatchObject({ stdoutBytes: 0, truncated: true })
    expect(output.frames).toHaveLength(0)
  })
})

describe('a follower', () => {
  const pieces = Array.from({ length: 50 }, (_, index) => `${index};`.repeat(200))

  async function writeAll(recorder: Recorder): Promise<void> {
    for (const piece of pieces) await recorder.write('stdout', bytesOf(piece))
  }

  test('gets what is there, what comes, and the end', async () => {
    const { recorder } = await setUp()
    void recorder.write('stdout', bytesOf('a'))
    const frames = recorder.follow(forever)[Symbol.asyncIterator]()
    expect(await frames.next()).toMatchObject({ value: { bytes: bytesOf('a') } })
    const next = frames.next()
    void recorder.write('stderr', bytesOf('b'))
    expect(await next).toMatchObject({ value: { stream: 'stderr', bytes: bytesOf('b') } })
    const last = frames.next()
    await recorder.finish()
    expect(await last).toEqual({ done: true, value: undefined })
  })

  test('gets all of it beside others, slow, late or after the end', async () => {
    const { recorder } = await setUp()
    const quick = [1, 2, 3].map(() => textOf(recorder.follow(forever)))
    /** It reads one frame for each that is written. */
    const turns = new PassThrough({ objectMode: true })
    const slow = (async () => {
      let text = ''
      const frames = recorder.follow(forever)[Symbol.asyncIterator]()
      for await (const turn of turns) {
        const { value, done } = await frames.next()
        if (done === true) return text
        text += Buffer.from(value.bytes).toString()
        if (turn === 'last') turns.write('last')
      }
      return text
    })()
    for (const [index, piece] of pieces.entries()) {
      await recorder.write('stdout', bytesOf(piece))
      if (index % 3 === 0) turns.write('one')
    }
    const late = textOf(recorder.follow(forever))
    turns.write('last')
    await recorder.finish()
    const all = [...quick, slow, late, textOf(recorder.follow(forever))]
    expect(new Set(await Promise.all(all))).toEqual(new Set([pieces.join('')]))
  })

  test('is let go at its signal, while it waits', async () => {
    const { recorder } = await setUp()
    const leaving = new AbortController()
    void recorder.write('stdout', bytesOf('a'))
    const following = textOf(recorder.follow(leaving.signal))
    leaving.abort()
    expect(['', 'a']).toContain(await following)
    expect(await textOf(recorder.follow(AbortSignal.abort()))).toBe('')
  })

  test.each([
    ['memory', 'a'],
    ['the file', 'a'.repeat(100 * KIB)],
  ])('comes to its end when what is in %s is discarded', async (_, text) => {
    const { path, recorder } = await setUp()
    await recorder.write('stdout', bytesOf(text))
    const frames = recorder.follow(forever)[Symbol.asyncIterator]()
    await frames.next()
    const next = frames.next()
    await recorder.discard()
    expect(await next).toEqual({ done: true, value: undefined })
    expect(await isThere(path)).toBe(false)
    expect(await textOf(recorder.read())).toBe('')
  })

  test('that reads while it is discarded gets all of it', async () => {
    const { path, recorder } = await setUp()
    await writeAll(recorder)
    const following = [1, 2, 3, 4].map(() => textOf(recorder.follow(forever)))
    await recorder.discard()
    expect(await isThere(path)).toBe(false)
    expect(new Set(await Promise.all(following))).toEqual(new Set([pieces.join('')]))
  })

  test.each([
    ['memory', 2],
    ['the file', 50],
  ])(
    'that is slow gets all of what was discarded in %s, and nothing of what took its place',
    async (_, count) => {
      const { path, recorder } = await setUp()
      const [first = '', ...others] = pieces.slice(0, count)
      await recorder.write('stdout', bytesOf(first))
      const frames = recorder.follow(forever)[Symbol.asyncIterator]()
      expect(await frames.next()).toMatchObject({ value: { bytes: bytesOf(first) } })
      for (const piece of others) await recorder.write('stdout', bytesOf(piece))
      await recorder.discard()
      const later = createRecorder({ path, maxBytes: MIB, clock: () => 0 })
      await later.write('stdout', Buffer.alloc(100 * KIB, 'x'))
      const rest = { [Symbol.asyncIterator]: () => frames }
      expect(await textOf(rest)).toBe(others.join(''))
      expect(await textOf(recorder.follow(forever))).toBe('')
      await later.discard()
    },
  )

  test.each([
    ['nothing', 0],
    ['another', 200 * KIB],
  ])('that begins after the end comes to its own if %s takes its place', async (_, length) => {
    const { path, recorder } = await setUp()
    const piece = Buffer.alloc(60 * KIB, 'a')
    for (let count = 0; count < 4; count += 1) await recorder.write('stdout', piece)
    await recorder.finish()
    const frames = recorder.follow(forever)[Symbol.asyncIterator]()
    expect(await frames.next()).toMatchObject({ value: { bytes: piece } })
    await recorder.discard()
    const later = createRecorder({ path, maxBytes: MIB, clock: () => 0 })
    await later.write('stdout', Buffer.alloc(length, 'x'))
    expect(await textOf({ [Symbol.asyncIterator]: () => frames })).toBe('')
    await later.finish()
  })
})

test('what has been recorded by now is read without waiting for more', async () => {
  const { recorder } = await setUp()
  expect(await textOf(recorder.read())).toBe('')
  void recorder.write('stdout', bytesOf('a'))
  expect(await textOf(recorder.read())).toBe('a')
})

test('after its end nothing is recorded, and finishing again tells the same', async () => {
  const { recorder } = await setUp()
  void recorder.write('stdout', bytesOf('a'))
  const output = await recorder.finish()
  void recorder.write('stdout', bytesOf('b'))
  expect(await recorder.finish()).toMatchObject({ frames: output.frames, stdoutBytes: 1 })
})

test('what the disk does not take is left out, with all that comes after, and harms nobody', async () => {
  const { path, recorder } = await setUp()
  // Where the file should be there is a folder.
  await mkdir(path)
  void recorder.write('stdout', bytesOf('first'))
  await recorder.write('stdout', Buffer.alloc(20 * KIB, 'x'))
  await rm(path, { recursive: true })
  await recorder.write('stdout', bytesOf('later'))
  const output = await recorder.finish()
  expect(output).toMatchObject({ stdoutBytes: 5, stderrBytes: 0, truncated: true })
  expect(await textOf(recorder.read())).toBe('first')
})
