import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { placeholder } from '../../src/core/template.ts'
import { functionSpec } from '../function-spec.ts'
import { attemptsOf, body, exited, forever, lost, rest, retried, startWorking } from './working.ts'

type Options = Parameters<typeof startWorking>[0]

/** Runs `before` on a gateway, crashes it, and starts another on what it had written. */
async function crash<T>(
  before: (gateway: Awaited<ReturnType<typeof startWorking>>) => Promise<T>,
  { first = {}, second = {} }: { first?: Options; second?: Options } = {},
) {
  const former = await startWorking(first)
  const left = await before(former)
  await rest()
  await former.stop()
  const later = await startWorking({ ...first, ...second, folder: former.folder })
  return { ...later, left, former }
}

test('what waited is run', async () => {
  const { left, next, ended } = await crash(
    async ({ accept, next }) => {
      await accept()
      await next()
      return accept('test', { input: body('in') })
    },
    { first: { concurrency: 1 }, second: { concurrency: 2 } },
  )
  const { task, io, end } = await next()
  expect(task.invocationId).toBe(left)
  expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe('in')
  end(exited())
  expect(await ended(left)).toMatchObject({ state: 'succeeded', attempts: [{ number: 1 }] })
})

test('as many wait after the restart as before', async () => {
  const { accept } = await crash(
    async ({ accept, next }) => {
      await accept()
      await next()
      await accept()
      await accept()
    },
    { first: { concurrency: 1, maxQueued: 3 } },
  )
  await accept()
  await expect(accept()).rejects.toMatchObject({ code: 'queue_full' })
})

describe('what ran', () => {
  const start = async ({ accept, next }: Awaited<ReturnType<typeof startWorking>>) => {
    const id = await accept()
    await next()
    return id
  }

  test('is told of by where it is, as the engine says', async () => {
    const { left: id, nextResumed, invocations, ended } = await crash(start)
    const { io, end } = await nextResumed()
    io.progress?.({ node: 'worker-1' })
    expect(invocations.findProgress(await invocations.get(id))).toEqual({ node: 'worker-1' })
    end(exited())
    expect(invocations.findProgress(await ended(id))).toBeUndefined()
  })

  test('is taken up where it is, live and in its slot, and ends as it ends', async () => {
    const gateway = await crash(start, { second: { concurrency: 1 } })
    const { left, nextResumed, ended, live, admission, abandoned, invocations } = gateway
    const { handle, io, end } = await nextResumed()
    expect(handle.name).toBe(`oneshot-${left}`)
    expect(live.has(left)).toBe(true)
    expect(admission.counts().running).toBe(1)
    await io.stdout(Buffer.from('all of it'))
    const printed = [{ attempt: 1, text: 'all of it' }]
    expect(await attemptsOf(invocations.output(left, false, forever))).toEqual(printed)
    end(exited(3))
    expect(await ended(left)).toMatchObject({
      state: 'failed',
      outcome: { exitCode: 3 },
      attempts: [{ number: 1, handle }],
    })
    expect(await attemptsOf(invocations.output(left, false, forever))).toEqual(printed)
    expect(abandoned).toEqual([])
    await rest()
    expect(admission.counts().running).toBe(0)
  })

  test('and had its input is not run again', async () => {
    const { nextResumed, left, ended } = await crash(async ({ accept, next }) => {
      const id = await accept('test', { input: body('in') })
      ;(await next()).io.inputDelivered?.()
      return id
    })
    ;(await nextResumed()).end(exited())
    expect(await ended(left)).toMatchObject({ state: 'succeeded', attempts: [{ number: 1 }] })
  })

  test('and had not all of its input is let go of, and run again as a second attempt', async () => {
    const { left, next, ended, abandoned } = await crash(
      async ({ accept, next }) => {
        const id = await accept('test', { input: body('in') })
        await next()
        return id
      },
      { first: { specs: [retried({ minDelayMs: 0 })] } },
    )
    expect(abandoned.map(({ name }) => name)).toEqual([`oneshot-${left}`])
    const { io, end } = await next()
    expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe('in')
    end(exited())
    expect(await ended(left)).toMatchObject({
      state: 'succeeded',
      attempts: [{ outcome: { reason: 'lost' } }, { number: 2, outcome: { reason: 'exited' } }],
    })
  })

  test('and had not all of its input is lost if it may not be run again', async () => {
    const { left, ended, abandoned } = await crash(
      async ({ accept, next }) => {
        const id = await accept('test', { input: body('in') })
        await next()
        return id
      },
      { first: { specs: [retried({ max: 0 })] } },
    )
    expect(await ended(left)).toMatchObject({ state: 'lost', attempts: [{ number: 1 }] })
    expect(abandoned).toHaveLength(1)
  })

  test('and had no place yet is run as the first attempt', async () => {
    const { left, next, ended } = await crash(async ({ accept, store, live }) => {
      // The engine is still about to make its container.
      const { update } = store.invocations
      const taken = Promise.withResolvers<void>()
      store.invocations.update = async (invocation) => {
        if (invocation.attempts.at(-1)?.handle) return new Promise(() => {})
        await update(invocation)
        return taken.resolve()
      }
      const id = await accept()
      await taken.promise
      expect(live.has(id)).toBe(true)
      return id
    })
    ;(await next()).end(exited())
    const last = await ended(left)
    expect(last).toMatchObject({ state: 'succeeded', attempts: [{ number: 1 }] })
    expect(last.history.map(({ state }) => state)).toEqual(['queued', 'running', 'succeeded'])
  })

  test('but whose command never did is run as the first attempt', async () => {
    const { left, next, nextResumed, ended } = await crash(start)
    ;(await nextResumed()).end('never_ran')
    ;(await next()).end(exited())
    expect(await ended(left)).toMatchObject({ state: 'succeeded', attempts: [{ number: 1 }] })
  })

  test('and is lost is run again', async () => {
    const first = { specs: [retried({ minDelayMs: 0 })] }
    const { left, next, nextResumed, ended } = await crash(start, { first })
    ;(await nextResumed()).end(lost)
    ;(await next()).end(exited())
    expect(await ended(left)).toMatchObject({ state: 'succeeded', attempts: [{}, { number: 2 }] })
  })

  test('is asked for again until the engine can be reached', async () => {
    const { left, nextResumed, ended } = await crash(start)
    ;(await nextResumed()).fail(new OneshotError('engine_unreachable', 'gone'))
    ;(await nextResumed()).end(exited())
    expect(await ended(left)).toMatchObject({ state: 'succeeded', attempts: [{ number: 1 }] })
  })

  test('is stopped when its timeout from before the restart is over', async () => {
    const first = { specs: [functionSpec({ timeoutMs: 60_000 })] }
    const clock = () => Date.now() + 60_000
    const { left, nextResumed, ended } = await crash(start, { first, second: { clock } })
    const { stop, end } = await nextResumed()
    if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve))
    expect(stop.reason).toBe('timed_out')
    end({ kind: 'stopped', by: stop.reason, exitCode: 137 })
    expect(await ended(left)).toMatchObject({ state: 'timed_out' })
  })

  test('ends as it did though its timeout was over before the engine could be reached', async () => {
    const first = { specs: [functionSpec({ timeoutMs: 60_000 })] }
    const clock = () => Date.now() + 60_000
    const { left, nextResumed, ended } = await crash(start, { first, second: { clock } })
    const { stop, fail } = await nextResumed()
    if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve))
    fail(new OneshotError('engine_unreachable', 'gone'))
    ;(await nextResumed()).end(exited(5))
    expect(await ended(left)).toMatchObject({ state: 'failed', outcome: { exitCode: 5 } })
  })

  test('is lost if the engine, again and again, does not tell of it, and is let go of', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const first = { specs: [retried({ max: 0 })] }
    const { left, nextResumed, ended, abandoned } = await crash(start, { first })
    for (let failures = 0; failures <= 30; failures += 1) {
      ;(await nextResumed()).fail(new OneshotError('engine_failed', 'no'))
      await vi.advanceTimersByTimeAsync(2000)
    }
    expect(await ended(left)).toMatchObject({ state: 'lost', attempts: [{ number: 1 }] })
    expect(abandoned).toHaveLength(1)
  })

  test('is taken up although its definition asks for what the call did not give', async () => {
    const parameters = { word: { type: 'string', required: true } } as const
    const { container } = functionSpec({ container: { command: [placeholder('word')] } })
    const second = { specs: [functionSpec({ parameters, container })] }
    const { left, nextResumed, ended } = await crash(start, { second })
    ;(await nextResumed()).end(exited())
    expect(await ended(left)).toMatchObject({ state: 'succeeded', attempts: [{ number: 1 }] })
  })

  test('of a function that is broken by now is let go of, and waits to be run again', async () => {
    const { left, attempted, abandoned } = await crash(start, { second: { broken: ['test'] } })
    expect(await attempted(left)).toMatchObject({
      state: 'queued',
      attempts: [{ outcome: { reason: 'lost' } }],
    })
    expect(abandoned).toHaveLength(1)
  })

  test('can be cancelled', async () => {
    const { left, nextResumed, invocations } = await crash(start)
    const { stop, end } = await nextResumed()
    const cancel = invocations.cancel(left)
    await rest()
    end({ kind: 'stopped', by: stop.reason, exitCode: 143 })
    expect(await cancel).toMatchObject({ state: 'cancelled' })
  })

  test('of a function that is gone is let go of, and lost', async () => {
    const second = { specs: [functionSpec({ name: 'other' })] }
    const { left, ended, abandoned } = await crash(start, { second })
    expect(await ended(left)).toMatchObject({ state: 'lost' })
    expect(abandoned).toHaveLength(1)
  })
})

describe('a call whose caller waited', () => {
  const io = { stdin: undefined }
  const invoke = ({ invoker }: Awaited<ReturnType<typeof startWorking>>) => {
    const { id, end } = invoker.invoke({ spec: functionSpec(), parameters: {}, io })
    end.catch(() => {})
    return id
  }

  test('in the queue is on record as not started', async () => {
    const { left, ended } = await crash(
      async (gateway) => {
        invoke(gateway)
        await gateway.next()
        return invoke(gateway)
      },
      { first: { concurrency: 1 } },
    )
    expect(await ended(left)).toMatchObject({
      state: 'failed',
      mode: 'sync',
      attempts: [],
      outcome: { reason: 'not_started', failure: { code: 'shutting_down' } },
    })
  })

  test('and that ran is taken up to its end, and not run again', async () => {
    const { left, nextResumed, ended } = await crash(async (gateway) => {
      const id = invoke(gateway)
      await gateway.next()
      return id
    })
    ;(await nextResumed()).end(lost)
    expect(await ended(left)).toMatchObject({ state: 'lost', attempts: [{ number: 1 }] })
  })

  test('and whose command never ran is on record as not started', async () => {
    const { left, nextResumed, ended } = await crash(async (gateway) => {
      const id = invoke(gateway)
      await gateway.next()
      return id
    })
    ;(await nextResumed()).end('never_ran')
    expect(await ended(left)).toMatchObject({
      state: 'failed',
      outcome: { failure: { code: 'shutting_down' } },
    })
  })
})

test('what waits for its next attempt has it after the restart', async () => {
  const { left, next, ended } = await crash(
    async ({ accept, next, attempted }) => {
      const id = await accept()
      ;(await next()).end(lost)
      await attempted(id)
      return id
    },
    { first: { specs: [retried({ minDelayMs: 20 })] } },
  )
  ;(await next()).end(exited())
  expect(await ended(left)).toMatchObject({ state: 'succeeded', attempts: [{}, { number: 2 }] })
})

test('what has ended stays as it ended', async () => {
  const { left, invocations } = await crash(async ({ accept, next, ended }) => {
    const id = await accept()
    ;(await next()).end(exited())
    return ended(id)
  })
  expect(await invocations.get(left.id)).toEqual(left)
})
