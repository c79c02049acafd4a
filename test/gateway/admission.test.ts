import { describe, expect, test } from 'vitest'
import { createAdmission } from '../../src/gateway/admission.ts'

const never = new AbortController().signal

/** Acquires in the order given, and tells in which order the calls got their slots. */
function createRace(concurrency: number, queueLength = 100) {
  const admission = createAdmission({ concurrency, queueLength })
  const order: string[] = []
  const releases = new Map<string, () => void>()
  return {
    admission,
    order,
    async enter(name: string, limit?: number, signal = never) {
      const release = await admission.acquire(name.replace(/\d+$/, ''), limit, signal)
      order.push(name)
      releases.set(name, release)
    },
    async leave(name: string) {
      releases.get(name)?.()
      await Promise.resolve()
      await Promise.resolve()
    },
  }
}

describe('admission', () => {
  test('lets calls in up to the bound of all functions together, then as slots become free', async () => {
    const { admission, order, enter, leave } = createRace(2)
    await Promise.all([enter('a1'), enter('b1')])
    void enter('a2')
    expect(admission.counts()).toEqual({ running: 2, waiting: 1 })
    await leave('b1')
    expect(order).toEqual(['a1', 'b1', 'a2'])
    expect(admission.counts()).toEqual({ running: 2, waiting: 0 })
  })

  test('holds one function to its own bound, and lets others pass its waiting calls', async () => {
    const { order, enter, leave } = createRace(10)
    await enter('a1', 1)
    void enter('a2', 1)
    await enter('b1')
    expect(order).toEqual(['a1', 'b1'])
    await leave('a1')
    expect(order).toEqual(['a1', 'b1', 'a2'])
  })

  test('serves one function first come, first served', async () => {
    const { order, enter, leave } = createRace(1)
    await enter('a1')
    for (const name of ['a2', 'a3', 'a4']) void enter(name)
    for (const name of ['a1', 'a2', 'a3']) await leave(name)
    expect(order).toEqual(['a1', 'a2', 'a3', 'a4'])
  })

  test('takes turns between functions, so that a burst of one does not hold up another', async () => {
    const { order, enter, leave } = createRace(1)
    await enter('a0')
    for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) void enter(name)
    for (let turn = 0; turn < 7; turn += 1) await leave(order.at(-1) ?? '')
    expect(order).toEqual(['a0', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
  })

  test('refuses a call when the queue is full, and says when to come again', async () => {
    const { enter } = createRace(1, 1)
    await enter('a1')
    void enter('a2')
    await expect(enter('a3')).rejects.toMatchObject({ code: 'queue_full', retryAfterSeconds: 1 })
  })

  test('lets a waiting call go when it is stopped, with the reason, and gives its place to the next', async () => {
    const { admission, order, enter, leave } = createRace(1)
    await enter('a1')
    const stopping = new AbortController()
    const stopped = enter('a2', undefined, stopping.signal)
    void enter('a3')
    stopping.abort('timed_out')
    await expect(stopped).rejects.toBe('timed_out')
    expect(admission.counts()).toEqual({ running: 1, waiting: 1 })
    await leave('a1')
    expect(order).toEqual(['a1', 'a3'])
  })

  test('gives a slot back once, however often it is released', async () => {
    const admission = createAdmission({ concurrency: 1, queueLength: 1 })
    const release = await admission.acquire('a', undefined, never)
    release()
    release()
    expect(admission.counts()).toEqual({ running: 0, waiting: 0 })
  })

  test('lets more in at once when a changed definition raises the bound', async () => {
    const { order, enter, leave } = createRace(10)
    await enter('a1', 1)
    for (const name of ['a2', 'a3']) void enter(name, 1)
    void enter('a4', 3)
    await leave('a1')
    expect(order).toEqual(['a1', 'a2', 'a3', 'a4'])
  })

  test('lets those that wait in as soon as a call tells of a raised bound', async () => {
    const { admission, order, enter } = createRace(10)
    await enter('a1', 1)
    const waiting = [enter('a2', 1), enter('a3', 1)]
    const last = enter('a4', 4)
    await Promise.all([...waiting, last])
    expect(order).toEqual(['a1', 'a2', 'a3', 'a4'])
    expect(admission.counts()).toEqual({ running: 4, waiting: 0 })
  })
})
