import { describe, expect, test } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { functionSpec } from '../function-spec.ts'
import { body, exited, lost, pass, rest, retried, startWorking, stopTime } from './working.ts'

const unreachable = () => new OneshotError('engine_unreachable', 'gone')

stopTime()

describe('an accepted call', () => {
  test('is run, with its input, and its end and output are on record', async () => {
    const { accept, next, ended, store, spool, admission, gateway } = await startWorking()
    const id = await accept('test', { input: body('some ', 'input') })
    const { task, io, end } = await next()
    expect(task.invocationId).toBe(id)
    expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe('some input')
    io.inputDelivered?.()
    await io.stdout(Buffer.from('done'))
    end(exited())
    expect(await ended(id)).toMatchObject({
      state: 'succeeded',
      mode: 'async',
      attempts: [{ number: 1, isInputDelivered: true, outcome: { exitCode: 0 } }],
    })
    const output = await store.invocations.findOutput(id)
    expect(await Array.fromAsync(spool.readOutput(id, output!))).toMatchObject([
      { stream: 'stdout', bytes: new Uint8Array(Buffer.from('done')) },
    ])
    await rest()
    expect(admission.counts()).toEqual({ running: 0, waiting: 0 })
    expect(gateway.live.has(id)).toBe(false)
  })

  test('past its timeout is stopped as timed_out and not run again', async () => {
    const { accept, next, ended } = await startWorking({
      specs: [retried({}, { timeoutMs: 5000 })],
    })
    const id = await accept()
    const { stop, end } = await next()
    await pass(5000)
    expect(stop.reason).toBe('timed_out')
    end({ kind: 'stopped', by: stop.reason, exitCode: 137 })
    expect(await ended(id)).toMatchObject({ state: 'timed_out', attempts: [{ number: 1 }] })
  })

  test('of a function that is gone fails, of one that is broken it waits', async () => {
    const findings = { code: 'function_broken' as 'function_broken' | 'function_not_found' }
    const { accept, ended, catalog, gateway, stateOf, next } = await startWorking()
    const { get } = catalog
    catalog.get = () => {
      throw new OneshotError(findings.code, 'no')
    }
    const [first, second] = [await accept(), await accept()]
    await rest()
    expect(await stateOf(first)).toBe('queued')
    catalog.get = get
    gateway.wake()
    await next()
    catalog.get = () => {
      throw new OneshotError('function_not_found', 'no')
    }
    const third = await accept()
    expect(await ended(third)).toMatchObject({
      state: 'failed',
      attempts: [],
      outcome: { reason: 'not_started', failure: { code: 'function_not_found' } },
    })
    expect(await stateOf(second)).toBe('running')
  })

  test('whose input can not be read fails, and gives its slot back', async () => {
    const { accept, ended, store, admission } = await startWorking()
    store.invocations.findInput = () => Promise.reject(new Error('damaged'))
    const id = await accept('test', { input: body('x') })
    expect(await ended(id)).toMatchObject({ state: 'failed', outcome: { reason: 'not_started' } })
    await rest()
    expect(admission.counts().running).toBe(0)
  })

  test('that can not be written as running is taken later, and costs no slot', async () => {
    const { accept, next, ended, store, admission } = await startWorking({ concurrency: 1 })
    const { update } = store.invocations
    store.invocations.update = () => {
      store.invocations.update = update
      return Promise.reject(new OneshotError('storage_full', 'full'))
    }
    const id = await accept()
    await pass(1000)
    ;(await next()).end(exited())
    expect(await ended(id)).toMatchObject({ state: 'succeeded' })
    await rest()
    expect(admission.counts().running).toBe(0)
  })
})

describe('of many accepted calls', () => {
  test('no more run at once than concurrency allows, first come first served', async () => {
    const { accept, next, admission, ended } = await startWorking({ concurrency: 2 })
    const ids: string[] = []
    for (let count = 0; count < 5; count += 1) ids.push(await accept())
    const order: string[] = []
    const running: number[] = []
    for (const _ of ids) {
      const { task, end } = await next()
      order.push(task.invocationId)
      await rest()
      running.push(admission.counts().running)
      end(exited())
    }
    expect(order).toEqual(ids)
    expect(running).toEqual([2, 2, 2, 2, 1])
    await Promise.all(ids.map(ended))
  })

  test('no more of one function run than it allows, which keeps no other back', async () => {
    const specs = [functionSpec({ name: 'a', concurrency: 1 }), functionSpec({ name: 'b' })]
    const { accept, next, admission } = await startWorking({ specs })
    for (const name of ['a', 'a', 'a', 'b']) await accept(name)
    const started = [await next(), await next()]
    expect(started.map(({ task }) => task.spec.name)).toEqual(['a', 'b'])
    await rest()
    expect(admission.counts().running).toBe(2)
    started[0]!.end(exited())
    expect((await next()).task.spec.name).toBe('a')
  })

  test.each([2, 3, 5])(
    'each of %i functions gets its turn although one slot serves all',
    async (count) => {
      const names = Array.from({ length: count }, (_, index) => `f${index}`)
      const specs = names.map((name) => functionSpec({ name }))
      const { accept, next } = await startWorking({ specs, concurrency: 1 })
      for (const name of names) for (let call = 0; call < 3; call += 1) await accept(name)
      const order: string[] = []
      for (let call = 0; call < 3 * count; call += 1) {
        const { task, end } = await next()
        order.push(task.spec.name)
        end(exited())
      }
      const turns = [0, 1, 2].map((turn) => order.slice(turn * count, (turn + 1) * count).sort())
      expect(turns).toEqual([names, names, names])
    },
  )

  test('as many may wait as is allowed, the next is refused until one has been taken', async () => {
    const { accept, next } = await startWorking({ concurrency: 1, maxQueued: 2 })
    await accept()
    const { end } = await next()
    await accept()
    await accept()
    await expect(accept()).rejects.toMatchObject({ code: 'queue_full', retryAfterSeconds: 5 })
    end(exited())
    await next()
    expect(await accept()).toMatch(/^id-/)
    await expect(accept()).rejects.toMatchObject({ code: 'queue_full' })
  })

  test('no more than that may wait of those that come at once', async () => {
    const { accept, next } = await startWorking({ concurrency: 1, maxQueued: 2 })
    await accept()
    await next()
    const coming = await Promise.allSettled([1, 2, 3, 4].map(() => accept()))
    expect(coming.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ])
  })

  test('none is counted as waiting in the end', async () => {
    const { accept, next, ended } = await startWorking({ concurrency: 4, maxQueued: 8 })
    for (let round = 0; round < 10; round += 1) {
      const ids = await Promise.all(Array.from({ length: 6 }, () => accept()))
      for (const _ of ids) (await next()).end(exited())
      await Promise.all(ids.map(ended))
    }
    await expect(Promise.all(Array.from({ length: 8 }, () => accept()))).resolves.toHaveLength(8)
  })
})

describe('a failed attempt', () => {
  test('is followed by others after growing delays, until there may be no more', async () => {
    const { accept, next, attempted, stateOf } = await startWorking({ specs: [retried()] })
    const id = await accept()
    for (const delay of [1000, 2000, 4000]) {
      ;(await next()).end(lost)
      expect(await attempted(id)).toMatchObject({ state: 'queued', dueAt: Date.now() + delay })
      await pass(delay - 1)
      expect(await stateOf(id)).toBe('queued')
      await pass(1)
    }
    ;(await next()).end(lost)
    const ended = await attempted(id)
    expect(ended.state).toBe('lost')
    expect(ended.attempts.map(({ number, outcome }) => [number, outcome?.reason])).toEqual(
      [1, 2, 3, 4].map((number) => [number, 'lost']),
    )
  })

  test('that falls due while the queue is looked through is run all the same', async () => {
    let passedMs = 0
    const clock = () => Date.now() + passedMs
    const options = { specs: [retried()], clock }
    const { accept, next, attempted, stateOf, store, gateway } = await startWorking(options)
    const id = await accept()
    ;(await next()).end(lost)
    await attempted(id)
    await pass(999)
    const list = store.invocations.listDueFunctions
    store.invocations.listDueFunctions = async (now) => {
      const names = await list(now)
      passedMs = 5
      return names
    }
    gateway.wake()
    await pass(10)
    expect(await stateOf(id)).toBe('running')
  })

  test.each(['engine_failed', 'image_pull_failed'] as const)('of %s is run again', async (code) => {
    const { accept, next, ended } = await startWorking({ specs: [retried()] })
    const id = await accept()
    ;(await next()).end({ kind: 'not_started', failure: { code, detail: '' } })
    await pass(1000)
    ;(await next()).end(exited())
    expect(await ended(id)).toMatchObject({
      state: 'succeeded',
      attempts: [{ outcome: { failure: { code } } }, { outcome: { exitCode: 0 } }],
    })
  })

  test('is told of no more by how far it had come once it waits, or is run again', async () => {
    const { accept, next, attempted, invocations } = await startWorking({ specs: [retried()] })
    const id = await accept()
    const progress = async () => invocations.findProgress(await invocations.get(id))
    const first = await next()
    first.io.progress?.({ node: 'one' })
    expect(await progress()).toEqual({ node: 'one' })
    // Its end is on record in the moment before it leaves this process's hands.
    const settled = { ...(await invocations.get(id)), state: 'succeeded' } as const
    expect(invocations.findProgress(settled)).toBeUndefined()
    first.end(lost)
    await attempted(id)
    expect(await progress()).toBeUndefined()
    await pass(1000)
    const second = await next()
    first.io.progress?.({ node: 'one' })
    first.io.started?.()
    expect(await progress()).toEqual({})
    second.end(exited())
  })

  test("of the command's own is the end, unless onExit names its code", async () => {
    const specs = [
      retried({}, { name: 'plain' }),
      retried({ onExit: [75] }, { name: 'some' }),
      retried({ onExit: 'any' }, { name: 'any' }),
    ]
    const { accept, next, attempted } = await startWorking({ specs })
    const outcomes = [
      ['plain', 75, 'failed'],
      ['some', 1, 'failed'],
      ['some', 75, 'queued'],
      ['any', 1, 'queued'],
    ] as const
    for (const [name, exitCode, state] of outcomes) {
      const id = await accept(name)
      ;(await next()).end(exited(exitCode))
      expect(await attempted(id)).toMatchObject({ state })
    }
  })

  test('that timed out is run again if onTimeout says so, each with the whole timeout', async () => {
    const specs = [retried({ max: 1, onTimeout: true }, { timeoutMs: 5000 })]
    const { accept, next, attempted } = await startWorking({ specs })
    const id = await accept()
    const first = await next()
    await pass(5000)
    first.end({ kind: 'stopped', by: first.stop.reason, exitCode: 137 })
    expect(await attempted(id)).toMatchObject({ state: 'queued' })
    await pass(1000)
    const second = await next()
    await pass(4999)
    expect(second.stop.aborted).toBe(false)
    await pass(1)
    second.end({ kind: 'stopped', by: second.stop.reason, exitCode: 137 })
    expect(await attempted(id)).toMatchObject({ state: 'timed_out', attempts: [{}, {}] })
  })

  test('gives its slot back while it waits, and what it printed is not kept', async () => {
    const { accept, next, attempted, ended, admission, store } = await startWorking({
      specs: [retried()],
      concurrency: 1,
    })
    const id = await accept('test', { input: body('in') })
    const first = await next()
    await Array.fromAsync(first.io.stdin!)
    await first.io.stdout(Buffer.from('first try'))
    first.end(lost)
    await attempted(id)
    await rest()
    expect(admission.counts().running).toBe(0)
    await pass(1000)
    const second = await next()
    expect(Buffer.concat(await Array.fromAsync(second.io.stdin!)).toString()).toBe('in')
    second.end(exited())
    await ended(id)
    expect(await store.invocations.findOutput(id)).toMatchObject({ stdoutBytes: 0 })
  })

  test('is not one while the engine can not be reached, however long that takes', async () => {
    const { accept, next, attempted, ended } = await startWorking({ specs: [retried({ max: 0 })] })
    const id = await accept()
    for (let time = 0; time < 5; time += 1) {
      ;(await next()).fail(unreachable())
      expect(await attempted(id)).toMatchObject({ state: 'queued', attempts: [] })
      await pass(2000)
    }
    ;(await next()).end(exited())
    expect(await ended(id)).toMatchObject({ state: 'succeeded', attempts: [{ number: 1 }] })
  })

  test('is not one while there is no room to write down where it is', async () => {
    const { accept, next, attempted } = await startWorking({ specs: [retried({ max: 0 })] })
    const id = await accept()
    ;(await next()).fail(new OneshotError('storage_full', 'full'))
    expect(await attempted(id)).toMatchObject({ state: 'queued', attempts: [] })
  })
})

describe('maxAge', () => {
  test('ends what has waited for longer, without an attempt', async () => {
    const specs = [functionSpec({ maxAgeMs: 10_000 })]
    const { accept, next, ended } = await startWorking({ specs, concurrency: 1 })
    await accept()
    const first = await next()
    const [inTime, late] = [await accept(), await accept()]
    await pass(10_000)
    first.end(exited())
    const second = await next()
    expect(second.task.invocationId).toBe(inTime)
    await pass(1)
    second.end(exited())
    expect(await ended(late)).toMatchObject({
      state: 'failed',
      attempts: [],
      outcome: { reason: 'not_started', failure: { code: 'expired' } },
      timings: { queueMs: 10_001 },
    })
  })

  test('ends it on time although there is no slot for it', async () => {
    const specs = [functionSpec({ maxAgeMs: 10_000 })]
    const { accept, next, ended } = await startWorking({ specs, concurrency: 1 })
    await accept()
    await next()
    const late = [await accept(), await accept()]
    await pass(10_001)
    for (const id of late) {
      expect(await ended(id)).toMatchObject({
        attempts: [],
        outcome: { failure: { code: 'expired' } },
      })
    }
  })

  test("ends what waits for a broken definition's correction", async () => {
    const specs = [functionSpec({ maxAgeMs: 10_000 })]
    const { accept, ended, catalog, stateOf } = await startWorking({ specs })
    catalog.get = () => {
      throw new OneshotError('function_broken', 'no')
    }
    const id = await accept()
    await pass(10_000)
    expect(await stateOf(id)).toBe('queued')
    await pass(1)
    expect(await ended(id)).toMatchObject({ outcome: { failure: { code: 'expired' } } })
  })

  test('bounds retries, and the wait for the engine', async () => {
    const specs = [retried({}, { maxAgeMs: 2500 })]
    const { accept, next, attempted } = await startWorking({ specs })
    const id = await accept()
    ;(await next()).end(lost)
    expect(await attempted(id)).toMatchObject({ state: 'queued' })
    await pass(1000)
    ;(await next()).end(lost)
    expect(await attempted(id)).toMatchObject({ state: 'lost', attempts: [{}, {}] })
    const other = await accept()
    ;(await next()).fail(unreachable())
    await attempted(other)
    await pass(2000)
    ;(await next()).fail(unreachable())
    expect(await attempted(other)).toMatchObject({
      state: 'failed',
      outcome: { failure: { code: 'engine_unreachable' } },
    })
  })
})

describe('a cancel', () => {
  test('of what waits ends it at once; of what has ended tells its end', async () => {
    const { accept, next, invocations } = await startWorking({ concurrency: 1 })
    await accept()
    const { end } = await next()
    const id = await accept()
    const cancelled = await invocations.cancel(id)
    expect(cancelled).toMatchObject({
      state: 'cancelled',
      attempts: [],
      outcome: { reason: 'cancelled', exitCode: null },
    })
    expect(await invocations.cancel(id)).toEqual(cancelled)
    end(exited())
    const later = await accept()
    expect((await next()).task.invocationId).toBe(later)
  })

  test('of what runs stops it, once, and waits for its end', async () => {
    const { accept, next, invocations, live } = await startWorking({
      specs: [retried({ onExit: 'any' })],
    })
    const id = await accept()
    const { stop, end } = await next()
    const cancels = [invocations.cancel(id), invocations.cancel(id)]
    await rest()
    expect(stop.reason).toBe('cancelled')
    end({ kind: 'stopped', by: stop.reason, exitCode: 143 })
    for (const cancelled of await Promise.all(cancels)) {
      expect(cancelled).toMatchObject({ state: 'cancelled', outcome: { exitCode: 143 } })
    }
    expect(live.has(id)).toBe(false)
  })

  test.each([
    ['is lost', lost],
    ['fails by itself', exited(1)],
  ])('of what %s in the same moment leaves it at that', async (_, how) => {
    const { accept, next, invocations } = await startWorking({
      specs: [retried({ onExit: 'any' })],
    })
    const id = await accept()
    const { stop, end } = await next()
    const cancel = invocations.cancel(id)
    await rest()
    expect(stop.aborted).toBe(true)
    end(how)
    expect(await cancel).toMatchObject({ attempts: [{ number: 1 }], finishedAt: Date.now() })
  })

  test('of what waits for its next attempt ends it, also while that is being written', async () => {
    const { accept, next, attempted, invocations } = await startWorking({ specs: [retried()] })
    const waiting = await accept()
    ;(await next()).end(lost)
    await attempted(waiting)
    const cancelled = { state: 'cancelled', attempts: [{ outcome: { reason: 'lost' } }] }
    expect(await invocations.cancel(waiting)).toMatchObject(cancelled)
    const failing = await accept()
    ;(await next()).end(lost)
    expect(await invocations.cancel(failing)).toMatchObject(cancelled)
  })

  test('of one that is taken in the same moment stops it all the same', async () => {
    const { accept, next, invocations } = await startWorking()
    for (let time = 0; time < 10; time += 1) {
      const id = await accept()
      const cancel = invocations.cancel(id)
      void next().then(({ stop, end }) => end({ kind: 'stopped', by: stop.reason, exitCode: null }))
      expect(await cancel).toMatchObject({ state: 'cancelled' })
    }
  })

  test('of what waits, while a slot becomes free, lets the next have it', async () => {
    const { accept, next, invocations } = await startWorking({ concurrency: 1 })
    await accept()
    const { end } = await next()
    const [id, other] = [await accept(), await accept()]
    const cancel = invocations.cancel(id)
    end(exited())
    expect(await cancel).toMatchObject({ state: 'cancelled' })
    expect((await next()).task.invocationId).toBe(other)
  })

  test('of one that nobody knows is refused', async () => {
    const { invocations } = await startWorking()
    await expect(invocations.cancel('x')).rejects.toMatchObject({ code: 'invocation_not_found' })
  })
})
