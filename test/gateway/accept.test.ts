import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { functionSpec } from '../function-spec.ts'
import { body, exited, startWorking } from './working.ts'

const key = { scope: 'test', key: 'k', fingerprint: 'f' }
const long = 'x'.repeat(100 * 1024)

async function setUp(maxQueued = 1000) {
  const gateway = await startWorking({ concurrency: 1, maxQueued })
  const { acceptor, folder } = gateway
  const accept = (input: string | undefined, fingerprint = 'f', scope = 'test') =>
    acceptor.accept({
      spec: functionSpec(),
      parameters: {},
      input: input === undefined ? undefined : body(input),
      callId: 'call',
      labels: [],
      key: { ...key, fingerprint, scope },
    })
  return { ...gateway, accept, inputs: () => readdir(join(folder, 'inputs')) }
}

describe('an idempotency key', () => {
  test.each([undefined, 'in', long])('has the same request run once', async (input) => {
    const { accept, next, ended, store, inputs } = await setUp()
    const first = await accept(input)
    expect(first.isRepeated).toBe(false)
    const files = await inputs()
    const whileItRuns = await accept(input)
    ;(await next()).end(exited())
    await ended(first.id)
    for (const again of [whileItRuns, await accept(input)]) {
      expect(again).toEqual({ id: first.id, isRepeated: true })
    }
    expect(await store.invocations.list({}, { limit: 9 })).toHaveLength(1)
    expect(await inputs()).toEqual(files)
  })

  test('is good for one of many requests at once', async () => {
    const { accept } = await setUp()
    const all = await Promise.all([1, 2, 3, 4].map(() => accept('in')))
    expect(new Set(all.map(({ id }) => id)).size).toBe(1)
    expect(all.filter(({ isRepeated }) => !isRepeated)).toHaveLength(1)
  })

  test('is refused for another body or another request, whose input is not kept', async () => {
    const { accept, inputs } = await setUp()
    await accept('in')
    for (const other of [accept('other'), accept('in', 'g'), accept(undefined), accept(long)]) {
      await expect(other).rejects.toMatchObject({ code: 'key_reused' })
    }
    expect(await inputs()).toEqual([])
  })

  test('is known although no more may wait', async () => {
    const { accept, next } = await setUp(1)
    const first = await accept('in')
    await next()
    const second = await accept('in', 'f', 'other')
    expect(await accept('in')).toEqual({ id: first.id, isRepeated: true })
    expect(await accept('in', 'f', 'other')).toEqual({ id: second.id, isRepeated: true })
    await expect(accept('in', 'f', 'third')).rejects.toMatchObject({ code: 'queue_full' })
  })

  test('is another one in another scope', async () => {
    const { accept } = await setUp()
    const ids = [await accept('in'), await accept('in', 'f', 'other')].map(({ id }) => id)
    expect(new Set(ids).size).toBe(2)
  })
})

test('a call whose body fails, or finds no room, is not accepted and leaves nothing', async () => {
  const { acceptor, store, inputs } = await setUp()
  const request = { spec: functionSpec(), parameters: {}, callId: 'call', labels: [] }
  async function* broken() {
    yield Buffer.from(long)
    throw new Error('cut off')
  }
  await expect(acceptor.accept({ ...request, input: broken() })).rejects.toThrow('cut off')
  const full = new OneshotError('storage_full', 'full')
  store.invocations.add = () => Promise.reject(full)
  await expect(acceptor.accept({ ...request, input: body(long) })).rejects.toBe(full)
  expect(await inputs()).toEqual([])
  expect(await store.invocations.list({}, { limit: 9 })).toEqual([])
})

test('a call whose command would be too long is refused before its body is read', async () => {
  const { acceptor } = await setUp()
  const spec = functionSpec({ container: { command: ['x'.repeat(200_000)] } })
  async function* unread() {
    yield await Promise.reject(new Error('it was read'))
  }
  await expect(
    acceptor.accept({ spec, parameters: {}, input: unread(), callId: 'c', labels: [] }),
  ).rejects.toMatchObject({ code: 'parameters_invalid' })
})

test('a gateway that closes accepts nothing', async () => {
  const { accept, gateway } = await setUp()
  await gateway.close(0)
  await expect(accept('in')).rejects.toMatchObject({ code: 'shutting_down' })
})

describe('a replay', () => {
  test.each(['in', long])('is a call of its own with the same input and labels', async (input) => {
    const { accept, next, ended, gateway, store } = await startWorking()
    const callbackUrl = 'http://receiver.test/'
    const id = await accept('test', { input: body(input), labels: ['a'], callbackUrl })
    ;(await next()).end(exited(1))
    const again = await gateway.replay(await ended(id), 'another call')
    const { task, io, end } = await next()
    expect(task.invocationId).toBe(again)
    expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe(input)
    end(exited())
    expect(await ended(again)).toMatchObject({
      state: 'succeeded',
      callId: 'another call',
      labels: ['a'],
      callback: { url: callbackUrl },
      replayOf: id,
    })
    expect(await store.invocations.find(id)).toMatchObject({ state: 'failed' })
  })

  test('of a call whose caller waited is refused if it had an input, else made', async () => {
    const { invoker, next, gateway } = await startWorking()
    const call = async (stdin: AsyncIterable<Uint8Array> | undefined) => {
      const { end } = invoker.invoke({ spec: functionSpec(), parameters: {}, io: { stdin } })
      ;(await next()).end(exited())
      return end
    }
    const [withInput, without] = [await call(body('in')), await call(undefined)]
    await expect(gateway.replay(withInput, 'c')).rejects.toMatchObject({ code: 'input_not_kept' })
    expect(await gateway.replay(without, 'c')).toMatch(/^id-/)
  })

  test('of a function that is gone is refused', async () => {
    const { accept, invocations, gateway } = await startWorking()
    const invocation = await invocations.get(await accept())
    await expect(gateway.replay({ ...invocation, functionName: 'x' }, 'c')).rejects.toMatchObject({
      code: 'function_not_found',
    })
  })
})

test('a call that can not be put on record is refused to its caller, who does not wait on', async () => {
  const { invoker, store, live, admission } = await startWorking()
  store.invocations.add = () => Promise.reject(new OneshotError('storage_full', 'full'))
  const { end } = invoker.invoke({
    spec: functionSpec(),
    parameters: {},
    io: { stdin: undefined },
  })
  await expect(end).rejects.toMatchObject({ code: 'storage_full' })
  expect(live.has('id-1')).toBe(false)
  expect(admission.counts().running).toBe(0)
})
