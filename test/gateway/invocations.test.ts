import { describe, expect, test } from 'vitest'
import type { AttemptOutput } from '../../src/gateway/invocations.ts'
import { attemptsOf, exited, forever, lost, rest, retried, startWorking } from './working.ts'

async function textOf(output: AsyncIterable<AttemptOutput>): Promise<string> {
  return (await attemptsOf(output)).map(({ text }) => text).join('')
}

describe('the output', () => {
  test('is followed from before the call is taken to its end, as it comes', async () => {
    const { accept, next, invocations } = await startWorking({ concurrency: 1 })
    await accept()
    const first = await next()
    const id = await accept()
    const output = invocations.output(id, true, forever)[Symbol.asyncIterator]()
    const found = output.next()
    await rest()
    first.end(exited())
    const { io, end } = await next()
    const { value } = (await found) as IteratorYieldResult<AttemptOutput>
    const frames = value.frames[Symbol.asyncIterator]()
    const begun = frames.next()
    await io.stdout(Buffer.from('while it runs'))
    expect(await begun).toMatchObject({ value: { bytes: Buffer.from('while it runs') } })
    end(exited())
    expect(await frames.next()).toEqual({ done: true, value: undefined })
    expect(await output.next()).toEqual({ done: true, value: undefined })
  })

  test('is followed from attempt to attempt', async () => {
    const { accept, next, invocations } = await startWorking({
      specs: [retried({ minDelayMs: 0 })],
    })
    const id = await accept()
    const following = attemptsOf(invocations.output(id, true, forever))
    for (const [text, how] of [
      ['one', lost],
      ['two', lost],
      ['three', exited()],
    ] as const) {
      const { io, end } = await next()
      await rest()
      await io.stdout(Buffer.from(text))
      end(how)
    }
    const last = { attempt: 3, text: 'three' }
    expect(await following).toEqual([
      { attempt: 1, text: 'one' },
      { attempt: 2, text: 'two' },
      last,
    ])
    expect(await attemptsOf(invocations.output(id, true, forever))).toEqual([last])
  })

  test('is followed to the end by one who is slow, though another attempt has ended meanwhile', async () => {
    const { accept, next, ended, invocations } = await startWorking({
      specs: [retried({ minDelayMs: 0 })],
    })
    const id = await accept()
    const first = await next()
    await first.io.stdout(Buffer.from('o'))
    const output = invocations.output(id, true, forever)[Symbol.asyncIterator]()
    const { value } = (await output.next()) as IteratorYieldResult<AttemptOutput>
    const frames = value.frames[Symbol.asyncIterator]()
    await frames.next()
    await first.io.stdout(Buffer.from('ne'))
    first.end(lost)
    const second = await next()
    await second.io.stdout(Buffer.from('two'))
    second.end(exited())
    await ended(id)
    expect(await frames.next()).toMatchObject({ value: { bytes: Buffer.from('ne') } })
    expect(await frames.next()).toEqual({ done: true, value: undefined })
    expect(await attemptsOf({ [Symbol.asyncIterator]: () => output })).toEqual([
      { attempt: 2, text: 'two' },
    ])
  })

  test('belongs to the attempt that prints it, though another was on record a moment before', async () => {
    const { accept, next, invocations, live, store } = await startWorking({ concurrency: 1 })
    await accept()
    const first = await next()
    const id = await accept()
    const { find } = store.invocations
    const read = Promise.withResolvers<void>()
    store.invocations.find = async (wanted) => {
      const found = await find(wanted)
      store.invocations.find = find
      const taken = live.changed(id, forever)
      read.resolve()
      await taken
      return found
    }
    const following = attemptsOf(invocations.output(id, true, forever))
    await read.promise
    first.end(exited())
    const { io, end } = await next()
    await io.stdout(Buffer.from('one'))
    end(exited())
    expect(await following).toEqual([{ attempt: 1, text: 'one' }])
  })

  test('of now is read without waiting for more', async () => {
    const { accept, next, invocations } = await startWorking()
    const id = await accept()
    const { io, end } = await next()
    await io.stdout(Buffer.from('so far'))
    expect(await textOf(invocations.output(id, false, forever))).toBe('so far')
    end(exited())
    await invocations.wait(id, forever)
    expect(await textOf(invocations.output(id, false, forever))).toBe('so far')
  })

  test('is followed no longer than the follower stays', async () => {
    const { accept, next, invocations } = await startWorking()
    const id = await accept()
    const leaving = new AbortController()
    const following = textOf(invocations.output(id, true, leaving.signal))
    await next()
    await rest()
    leaving.abort()
    expect(await following).toBe('')
  })

  test('of a call that nobody knows is refused', async () => {
    const { invocations } = await startWorking()
    await expect(textOf(invocations.output('x', true, forever))).rejects.toMatchObject({
      code: 'invocation_not_found',
    })
  })
})

test('waiting ends at the signal, with what is known by then', async () => {
  const { accept, next, invocations } = await startWorking()
  const id = await accept()
  const leaving = new AbortController()
  const waiting = invocations.wait(id, leaving.signal)
  await next()
  leaving.abort()
  expect(await waiting).toMatchObject({ id, state: 'running' })
})
