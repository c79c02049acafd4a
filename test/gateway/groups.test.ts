import { expect, test, vi } from 'vitest'
import type { TriggeredRequest } from '../../src/gateway/accept.ts'
import { functionSpec } from '../function-spec.ts'
import { body, exited, lost, pass, rest, retried, startWorking, stopTime } from './working.ts'

stopTime()

const spec = retried()

async function startGrouped(options: Parameters<typeof startWorking>[0] = {}) {
  const gateway = await startWorking({ specs: [spec], ...options })
  const trigger = async (request: Partial<TriggeredRequest> = {}) => {
    const triggered = await gateway.acceptor.acceptTriggered({
      spec,
      parameters: {},
      input: undefined,
      callId: 'call',
      labels: [],
      trigger: { type: 'webhook', name: 'deploy' },
      group: { key: 'main', max: 1 },
      overlap: 'queue',
      ...request,
    })
    return 'id' in triggered ? triggered.id : triggered.kind
  }
  return { ...gateway, trigger }
}

test('invocations of a group run one after another, in order; another group runs beside them', async () => {
  const { trigger, next, ended, stateOf } = await startGrouped()
  const [first, second, third] = [await trigger(), await trigger(), await trigger()]
  const other = await trigger({ group: { key: 'other', max: 1 } })
  const running = [await next(), await next()]
  expect(running.map(({ task }) => task.invocationId)).toEqual([first, other])
  await rest()
  expect(await stateOf(second)).toBe('queued')
  running[0]!.end(exited(1))
  await ended(first)
  const { task, end } = await next()
  expect(task.invocationId).toBe(second)
  end(exited())
  await ended(second)
  expect((await next()).task.invocationId).toBe(third)
})

test('one that is to be run again keeps its turn', async () => {
  const { trigger, next, attempted, stateOf } = await startGrouped()
  const [first, second] = [await trigger(), await trigger()]
  ;(await next()).end(lost)
  await attempted(first)
  await rest()
  expect(await stateOf(second)).toBe('queued')
  await pass(1000)
  const again = await next()
  expect(again.task.invocationId).toBe(first)
  again.end(exited())
  expect((await next()).task.invocationId).toBe(second)
})

test('drop makes none while one is under way', async () => {
  const { trigger, next, ended } = await startGrouped()
  const overlap = 'drop'
  const first = await trigger({ overlap })
  const { end } = await next()
  expect(await trigger({ overlap, input: body('x'.repeat(100_000)) })).toBe('dropped')
  end(exited())
  await ended(first)
  expect(await trigger({ overlap })).not.toBe('dropped')
})

test('replace cancels the one that runs and those that wait, and runs the newest once it has stopped', async () => {
  const { trigger, next, ended, stateOf, spool } = await startGrouped()
  const first = await trigger()
  const { stop, end } = await next()
  const second = await trigger({ input: body('x'.repeat(100_000)) })
  const third = await trigger({ overlap: 'replace' })
  expect(await ended(second)).toMatchObject({ state: 'cancelled', attempts: [] })
  await rest()
  expect(stop).toMatchObject({ aborted: true, reason: 'cancelled' })
  expect(await stateOf(third)).toBe('queued')
  end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
  expect(await ended(first)).toMatchObject({ state: 'cancelled' })
  const last = await next()
  expect(last.task.invocationId).toBe(third)
  expect(await spool.list()).toEqual([second])
})

test('replace cancels the oldest, and as many as leave no room', async () => {
  const { trigger, next, stateOf } = await startGrouped()
  const group = { key: 'two', max: 2 }
  const replacing = () => trigger({ overlap: 'replace', group })
  const [first, second] = [await replacing(), await replacing()]
  const running = [await next(), await next()]
  await rest()
  expect(running.map(({ stop }) => stop.aborted)).toEqual([false, false])
  const third = await replacing()
  await rest()
  expect(running.map(({ task }) => task.invocationId)).toEqual([first, second])
  expect(running.map(({ stop }) => stop.aborted)).toEqual([true, false])
  expect(await stateOf(third)).toBe('queued')
  running[0]!.end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
  expect((await next()).task.invocationId).toBe(third)
})

test('one that was replaced itself before it could replace others leaves the later ones alone', async () => {
  const { trigger, next, store, ended, invocations } = await startGrouped()
  const { listGroup } = store.invocations
  const waiting = Promise.withResolvers<void>()
  const seen = Promise.withResolvers<void>()
  vi.spyOn(store.invocations, 'listGroup').mockImplementationOnce(async (key) => {
    seen.resolve()
    await waiting.promise
    return listGroup(key)
  })
  const replaced = trigger({ overlap: 'replace' })
  await seen.promise
  const { task, end } = await next()
  const [second, third] = [await trigger(), await trigger()]
  end(exited())
  await ended(task.invocationId)
  const running = await next()
  waiting.resolve()
  await replaced
  await rest()
  expect(running.task.invocationId).toBe(second)
  expect(running.stop.aborted).toBe(false)
  expect(await invocations.get(third)).toMatchObject({ state: 'queued' })
})

test('after a crash the one that ran is taken up, and the next has its turn after it', async () => {
  const before = await startGrouped()
  const [first, second] = [await before.trigger(), await before.trigger()]
  await before.next()
  await before.stop()
  const { nextResumed, next, ended, stateOf } = await startWorking({
    specs: [spec],
    folder: before.folder,
  })
  const { end } = await nextResumed()
  await rest()
  expect(await stateOf(second)).toBe('queued')
  end(exited())
  await ended(first)
  expect((await next()).task.invocationId).toBe(second)
})

test('what it is made for comes with it: variables, caller and trigger; a replay has them too', async () => {
  const { trigger, next, gateway, invocations, ended } = await startGrouped()
  const id = await trigger({ environment: { BRANCH: 'main' }, caller: 'ci' })
  const { task, end } = await next()
  expect(task.container.environment).toMatchObject({ BRANCH: 'main' })
  end(exited())
  const first = await ended(id)
  const caller = { caller: 'ci', trigger: { type: 'webhook', name: 'deploy' } }
  expect(first).toMatchObject({ ...caller, environment: { BRANCH: 'main' } })
  const again = await gateway.replay(first, 'call', 'me')
  expect(await invocations.get(again)).toMatchObject({ ...caller, caller: 'me' })
  expect((await next()).task.container.environment).toMatchObject({ BRANCH: 'main' })
})

test('those that wait in a group count as waiting', async () => {
  const { trigger } = await startGrouped({ maxQueued: 2 })
  await trigger()
  await trigger()
  await rest()
  // One of them runs.
  await trigger()
  await expect(trigger()).rejects.toMatchObject({ code: 'queue_full' })
  await expect(trigger({ spec: functionSpec() })).rejects.toMatchObject({ code: 'queue_full' })
})
