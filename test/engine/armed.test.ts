import { PassThrough } from 'node:stream'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createArmedPool } from '../../src/engine/armed.ts'
import type { Files } from '../../src/engine/files.ts'
import type { ImageFacts, ImageFactsReader } from '../../src/engine/image-facts.ts'
import type { Launched, Launcher } from '../../src/engine/launch.ts'
import { functionSpec } from '../function-spec.ts'

const spec = functionSpec({ container: { command: ['true'] } })
const shell: ImageFacts = {
  id: 'sha256:one',
  entrypoint: [],
  command: [],
  environment: {},
  stopSignal: undefined,
  hasShell: true,
}

/** The pool, with containers that do what the test says. For order and time; what a gate does is tested on Docker. */
function createPool(facts: Partial<ImageFacts> = {}, { lifeMs = Infinity } = {}) {
  const launched: (Launched & { readonly output: PassThrough; readonly input: PassThrough })[] = []
  let imageId = facts.id ?? shell.id
  const launcher = {
    async launch(_blueprint, _stop, hooks) {
      await hooks?.examine?.('name')
      const container = {
        name: `container-${launched.length}`,
        output: new PassThrough(),
        input: new PassThrough(),
        startedAt: Date.now(),
        timings: {},
        cut: () => {},
      }
      launched.push(container)
      if (lifeMs < Infinity) setTimeout(() => container.output.destroy(), lifeMs)
      return container
    },
    discard: vi.fn<Launcher['discard']>(),
  } as Partial<Launcher> as Launcher
  const imageFacts: ImageFactsReader = {
    of: () => Promise.resolve({ ...shell, ...facts, id: imageId }),
    findId: () => Promise.resolve(imageId),
  }
  const pool = createArmedPool({
    launcher,
    imageFacts,
    files: { stamp: () => '' } as Partial<Files> as Files,
    newId: () => crypto.randomUUID(),
    clock: Date.now,
    logger: pino({ level: 'silent' }),
  })
  return { pool, launched, moveTag: (id: string) => void (imageId = id) }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const later = (ms: number) => vi.advanceTimersByTimeAsync(ms)

describe('an armed container that ends by itself', () => {
  test('is replaced, ever later if the next ones end too', async () => {
    const { pool, launched } = createPool({}, { lifeMs: 100 })
    pool.setTarget(spec, 1)
    await later(20_000)
    expect(launched.length).toBeGreaterThanOrEqual(3)
    await later(10 * 60_000)
    expect(launched.length).toBeLessThan(20)
    pool.close()
  })

  test('with no more said than its gate’s own report is no hindrance', async () => {
    const { pool, launched } = createPool()
    pool.setTarget(spec, 1)
    await later(0)
    const [first] = launched
    const [nonce] = String(first?.input.read()).split(' ')
    first?.output.end(`........${nonce}:143\n`)
    await later(10_000)
    expect(pool.findHindrance(spec)).toBeUndefined()
    expect(pool.take(spec)).toMatchObject({ name: 'container-1' })
    pool.close()
  })
})

describe('an image whose shell speaks unasked', () => {
  test('is not armed, until its name stands for another', async () => {
    const { pool, launched, moveTag } = createPool()
    pool.setTarget(spec, 1)
    await later(0)
    launched[0]?.output.write('........Welcome!\n')
    await later(60_000)
    expect(pool.findHindrance(spec)).toMatch(/prints something before any command/)
    expect(launched).toHaveLength(1)
    moveTag('sha256:two')
    await later(10_000)
    pool.findHindrance(spec)
    await later(10_000)
    expect(pool.findHindrance(spec)).toBeUndefined()
    expect(pool.take(spec)).toMatchObject({ name: 'container-1' })
    pool.close()
  })
})

test('what has no shell is not armed, and says so', async () => {
  const { pool, launched } = createPool({ hasShell: false })
  pool.setTarget(spec, 1)
  await later(60_000)
  expect(launched).toEqual([])
  expect(pool.findHindrance(spec)).toBe('its image has no /bin/sh')
  pool.close()
})
