import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import type { FunctionSpec } from '../../src/core/function.ts'
import { functionSpec } from '../function-spec.ts'
import { startGateway } from './start-gateway.ts'

const io = { stdin: undefined }

async function setUp(concurrency = 10) {
  const gateway = await startGateway({ concurrency })
  const { invoker } = gateway
  const invoke = (overrides: Partial<FunctionSpec> = {}) =>
    invoker.invoke({ spec: functionSpec(overrides), parameters: {}, io })
  return { ...gateway, invoke }
}

describe('a call', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('of a command that ends with 0 has succeeded', async () => {
    const { invoke, next } = await setUp()
    const call = invoke()
    ;(await next()).end({ kind: 'exited', exitCode: 0, oomKilled: false })
    await expect(call.end).resolves.toMatchObject({
      id: 'id-1',
      state: 'succeeded',
      outcome: { reason: 'exited', exitCode: 0 },
      node: 'fake',
    })
  })

  test('of a command that ends with another code has failed, and is no error', async () => {
    const { invoke, next } = await setUp()
    const call = invoke()
    ;(await next()).end({ kind: 'exited', exitCode: 3, oomKilled: false })
    await expect(call.end).resolves.toMatchObject({ state: 'failed', outcome: { exitCode: 3 } })
  })

  test('tells the command its invocation and its function', async () => {
    const { invoke, next } = await setUp()
    void invoke()
    const { task } = await next()
    expect(task.container.environment).toMatchObject({
      ONESHOT_INVOCATION_ID: 'id-1',
      ONESHOT_FUNCTION: 'test',
    })
  })

  test('past its timeout is stopped as timed_out, and a later cancel does not change that', async () => {
    const { invoke, next } = await setUp()
    const call = invoke({ timeoutMs: 1000 })
    const { stop, end } = await next()
    await vi.advanceTimersByTimeAsync(999)
    expect(stop.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    call.stop('cancelled')
    expect(stop.reason).toBe('timed_out')
    end({ kind: 'stopped', by: stop.reason, exitCode: 137 })
    await expect(call.end).resolves.toMatchObject({
      state: 'timed_out',
      outcome: { exitCode: 137 },
    })
  })

  test('that times out in the queue ends as timed_out and never reaches the engine', async () => {
    const { invoke, next, admission } = await setUp(1)
    const first = invoke()
    const { end } = await next()
    const second = invoke({ timeoutMs: 1000 })
    await vi.advanceTimersByTimeAsync(1000)
    await expect(second.end).resolves.toMatchObject({
      state: 'timed_out',
      outcome: { reason: 'timed_out', exitCode: null },
      timings: { queueMs: 1000 },
    })
    end({ kind: 'exited', exitCode: 0, oomKilled: false })
    await first.end
    expect(admission.counts()).toEqual({ running: 0, waiting: 0 })
  })

  test("gives its slot back when the engine can't be reached", async () => {
    const { invoke, next, admission } = await setUp()
    const call = invoke()
    const error = new OneshotError('engine_unreachable', 'gone')
    ;(await next()).fail(error)
    await expect(call.end).rejects.toMatchObject({ code: 'engine_unreachable' })
    expect(admission.counts()).toEqual({ running: 0, waiting: 0 })
  })

  test('whose command would be too long is refused at once, although others wait', async () => {
    const { invoke, next, admission } = await setUp(1)
    void invoke()
    await next()
    const call = invoke({
      container: functionSpec({ container: { command: ['x'.repeat(200_000)] } }).container,
    })
    await expect(call.end).rejects.toMatchObject({ code: 'parameters_invalid' })
    expect(admission.counts()).toEqual({ running: 1, waiting: 0 })
  })

  test('is live until its end is on record', async () => {
    const { invoke, next, live } = await setUp()
    const call = invoke()
    expect(live.has('id-1')).toBe(true)
    const task = await next()
    const recorded = live.changed('id-1', new AbortController().signal)
    task.end({ kind: 'exited', exitCode: 0, oomKilled: false })
    await call.end
    expect(live.has('id-1')).toBe(true)
    await recorded
    expect(live.has('id-1')).toBe(false)
  })

  test('is answered ahead of its record, which whoever looks for it is given all the same', async () => {
    const { invoke, next, invocations } = await setUp()
    const call = invoke()
    ;(await next()).end({ kind: 'exited', exitCode: 0, oomKilled: false })
    const ended = await call.end
    expect(await invocations.get('id-1')).toEqual(ended)
  })

  test('is answered though its end cannot be written, which is tried again until it can', async () => {
    const { invoke, next, invocations, store, live } = await setUp()
    const call = invoke()
    const task = await next()
    const settling = vi.spyOn(store.invocations, 'settle')
    settling.mockRejectedValueOnce(new OneshotError('storage_full', 'full'))
    task.end({ kind: 'exited', exitCode: 0, oomKilled: false })
    const ended = await call.end
    expect(await invocations.get('id-1')).toMatchObject({ state: 'running' })
    const recorded = live.changed('id-1', new AbortController().signal)
    await vi.advanceTimersByTimeAsync(1000)
    await recorded
    expect(await invocations.get('id-1')).toEqual(ended)
  })
})

describe('closing', () => {
  test('refuses new calls, lets those that run end, and then returns', async () => {
    const { invoke, next, invoker } = await setUp()
    const call = invoke()
    const { end } = await next()
    let closed = false
    const close = async () => {
      await invoker.close(60_000)
      closed = true
    }
    const closing = close()
    await expect(invoke().end).rejects.toMatchObject({ code: 'shutting_down' })
    expect(closed).toBe(false)
    end({ kind: 'exited', exitCode: 0, oomKilled: false })
    await closing
    await expect(call.end).resolves.toMatchObject({ state: 'succeeded' })
  })

  test('cancels what still runs at its bound', async () => {
    const { invoke, next, invoker } = await setUp()
    const call = invoke()
    const { stop, end } = await next()
    const closing = invoker.close(1)
    stop.addEventListener('abort', () => end({ kind: 'stopped', by: stop.reason, exitCode: 143 }))
    await closing
    await expect(call.end).resolves.toMatchObject({ state: 'cancelled' })
  })
})
