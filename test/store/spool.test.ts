import { createHash } from 'node:crypto'
import type * as files from 'node:fs/promises'
import { readdir, rename, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import * as fc from 'fast-check'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { createSpool, toSpoolError } from '../../src/store/spool.ts'
import { makeFolder } from './fixtures.ts'

vi.mock('node:fs/promises', async (load) => {
  const real = await load<typeof files>()
  return { ...real, statfs: vi.fn<typeof real.statfs>() }
})

const KIB = 1024

/** The disk has so much left, from now on. */
function leave(bytes: number): void {
  vi.mocked(statfs).mockResolvedValue({ bavail: bytes / KIB, bsize: KIB } as never)
}

beforeEach(() => leave(1024 * KIB * KIB))

async function setUp() {
  const folder = await makeFolder()
  const files = async () => [
    ...(await readdir(join(folder, 'inputs'))),
    ...(await readdir(join(folder, 'outputs'))),
  ]
  return { folder, files, spool: createSpool({ folder, clock: () => 1 }) }
}

/** Reuses its memory, as a socket may. */
async function* pieces(whole: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  const memory = Buffer.alloc(size)
  for (let at = 0; at < whole.length; at += size) {
    const piece = whole.subarray(at, at + size)
    memory.set(piece)
    yield memory.subarray(0, piece.length)
  }
}

async function* failing(length: number, error: unknown): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(length)
  throw error
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('an input', () => {
  test.each([
    ['of nothing', 0, 'inline'],
    ['of a byte', 1, 'inline'],
    ['of 64 KiB', 64 * KIB, 'inline'],
    ['of a byte more', 64 * KIB + 1, 'file'],
    ['of a megabyte', KIB * KIB, 'file'],
  ])('%s is read as it came, with its digest', async (_, length, kind) => {
    const { files, spool } = await setUp()
    const whole = Buffer.from(Array.from({ length }, (_, at) => (at * 7) % 251))
    const { input, digest } = await spool.takeInput('a', pieces(whole, 1000))
    expect(input.kind).toBe(kind)
    expect(digest).toBe(sha256(whole))
    expect(await files()).toEqual(kind === 'file' ? ['a'] : [])
    const read = await buffer(spool.readInput('a', input))
    expect(read.equals(whole)).toBe(true)
    expect(input.kind === 'file' ? input.length : input.bytes.length).toBe(length)
  })

  test('is the same in whatever pieces it comes', async () => {
    const { spool } = await setUp()
    let count = 0
    const part = fc.uint8Array({ maxLength: 40_000 })
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 6, size: 'max' }), async (parts) => {
        const id = `id-${(count += 1)}`
        const { input, digest } = await spool.takeInput(id, streamOf(parts))
        const whole = Buffer.concat(parts)
        expect(digest).toBe(sha256(whole))
        expect((await buffer(spool.readInput(id, input))).equals(whole)).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  test.each([10, 100 * KIB])('of %i bytes that fails leaves nothing', async (length) => {
    const { files, spool } = await setUp()
    const error = new Error('the caller has gone')
    await expect(spool.takeInput('a', failing(length, error))).rejects.toBe(error)
    expect(await files()).toEqual([])
  })

  test('that would fill the disk is refused on its way, and leaves nothing', async () => {
    const { files, spool } = await setUp()
    let taken = 0
    async function* body() {
      for (; taken < 64; taken += 1) {
        if (taken === 10) leave(63 * KIB * KIB)
        yield Buffer.alloc(KIB * KIB)
      }
    }
    await spool.checkRoom()
    await expect(spool.takeInput('a', body())).rejects.toMatchObject({ code: 'storage_full' })
    expect(taken).toBeLessThan(15)
    expect(await files()).toEqual([])
  })

  test('is readable by its owner alone', async () => {
    const { folder, spool } = await setUp()
    await spool.takeInput('a', pieces(Buffer.alloc(100 * KIB), 1000))
    expect((await stat(join(folder, 'inputs', 'a'))).mode & 0o777).toBe(0o600)
    expect((await stat(join(folder, 'inputs'))).mode & 0o777).toBe(0o700)
  })

  test('is not written over one that is there', async () => {
    const { spool } = await setUp()
    const { input } = await spool.takeInput('a', pieces(Buffer.alloc(100 * KIB, 'a'), 1000))
    await expect(spool.takeInput('a', pieces(Buffer.alloc(100 * KIB, 'b'), 1000))).rejects.toThrow(
      'EEXIST',
    )
    expect((await buffer(spool.readInput('a', input))).every((byte) => byte === 97)).toBe(true)
  })
})

describe('an output', () => {
  test.each([
    ['in the store', 10],
    ['in its file', 100 * KIB],
  ])('%s is read as it was printed', async (_, length) => {
    const { spool } = await setUp()
    const recorder = spool.record('a', KIB * KIB)
    await recorder.write('stdout', Buffer.alloc(length, 'a'))
    await recorder.write('stderr', Buffer.from('b'))
    const frames = await Array.fromAsync(spool.readOutput('a', await recorder.finish()))
    expect(frames.map(({ stream, bytes }) => [stream, bytes.length])).toEqual([
      ['stdout', length],
      ['stderr', 1],
    ])
  })
})

test('an output is opened only once it is read', async () => {
  const { folder, spool } = await setUp()
  const recorder = spool.record('a', KIB * KIB)
  await recorder.write('stdout', Buffer.alloc(100 * KIB))
  const output = await recorder.finish()
  const frames = spool.readOutput('b', output)
  // Had it been opened, this would have come to its end before.
  await stat(join(folder, 'outputs', 'a'))
  await rename(join(folder, 'outputs', 'a'), join(folder, 'outputs', 'b'))
  expect(await Array.fromAsync(frames)).toHaveLength(1)
})

test('what is removed is gone, inputs and outputs, and the rest stays', async () => {
  const { files, spool } = await setUp()
  for (const id of ['a', 'b']) {
    await spool.takeInput(id, pieces(Buffer.alloc(100 * KIB), 10_000))
    const recorder = spool.record(id, KIB * KIB)
    await recorder.write('stdout', Buffer.alloc(100 * KIB))
    await recorder.finish()
  }
  expect(await spool.remove(['a', 'never-there'])).toBeGreaterThan(200 * KIB)
  expect(await files()).toEqual(['b', 'b'])
})

test('what is used is the length of its files', async () => {
  const { spool } = await setUp()
  expect(await spool.usedBytes()).toBe(0)
  await spool.takeInput('a', pieces(Buffer.alloc(100 * KIB), 10_000))
  expect(await spool.usedBytes()).toBe(100 * KIB)
  await spool.remove(['a'])
  expect(await spool.usedBytes()).toBe(0)
})

test('what is used leaves out what is excepted, and what is on its way', async () => {
  const { spool } = await setUp()
  for (const id of ['a', 'b']) await spool.takeInput(id, pieces(Buffer.alloc(100 * KIB), 10_000))
  const error = new Error('the caller has gone')
  let seen: number | undefined
  async function* body() {
    yield Buffer.alloc(300 * KIB)
    seen = await spool.usedBytes(new Set(['a']))
    throw error
  }
  await expect(spool.takeInput('c', body())).rejects.toBe(error)
  expect(seen).toBe(100 * KIB)
})

test('a full disk is told as such, other errors as they are', () => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const full = Object.assign(new Error('full'), { code })
    expect(toSpoolError(full)).toMatchObject({ code: 'storage_full', cause: full })
    expect(toSpoolError(full)).toBeInstanceOf(OneshotError)
  }
  const other = Object.assign(new Error('other'), { code: 'EIO' })
  expect([other, 'text', undefined, null].map(toSpoolError)).toEqual([
    other,
    'text',
    undefined,
    null,
  ])
})

async function* streamOf(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts
}
