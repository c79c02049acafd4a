import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Webhook } from 'standardwebhooks'
import type { Delivery } from '../../src/core/callback.ts'
import type { Send } from '../../src/gateway/deliver.ts'
import { parseAllowList } from '../../src/core/callback-target.ts'
import { createSender } from '../../src/outgoing/send.ts'
import { functionSpec } from '../function-spec.ts'
import { receive, RECEIVER } from '../outgoing/receiver.ts'
import { bytesOf, exited, pass, rest, startWorking, stopTime } from './working.ts'

const url = 'http://receiver.test/hook'
const secret = Buffer.alloc(24, 'secret')

type Sent = Parameters<Send>[0]
type Answered = Awaited<ReturnType<Send>>
type Answer = Partial<Answered> | Error | undefined

stopTime()

/** A gateway whose receiver answers with these, one after the other; undefined: when the test says so. */
async function setUp(answers: Answer[], options: Parameters<typeof startWorking>[0] = {}) {
  const sent: Sent[] = []
  const hanging: ((answer: Partial<Answered>) => void)[] = []
  const thanks = { status: 200, answer: 'thanks', latencyMs: 7 }
  const send: Send = (request) => {
    sent.push(request)
    const answer = answers.shift()
    if (answer instanceof Error) return Promise.reject(answer)
    return answer
      ? Promise.resolve({ ...thanks, ...answer })
      : new Promise((resolve, reject) => {
          hanging.push((answer) => resolve({ ...thanks, ...answer }))
          request.signal.addEventListener('abort', () => reject(new Error('cancelled')))
        })
  }
  const gateway = await startWorking({ send, secrets: [secret], ...options })
  const { accept, next, ended, deliverer } = gateway
  const call = async (text = 'hi', callbackUrl: string | undefined = url): Promise<string> => {
    // Each is due later than the one before.
    vi.setSystemTime(Date.now() + 1)
    const id = await accept('test', { callbackUrl })
    const { io, end } = await next()
    await io.stdout(Buffer.from(text))
    await io.stderr(Buffer.from('aside'))
    end(exited())
    await ended(id)
    await rest()
    return id
  }
  const deliveryOf = async (invocationId: string): Promise<Delivery> => {
    const [delivery] = await deliverer.list({ invocationId }, { limit: 2 })
    return delivery!
  }
  return { ...gateway, sent, hanging, call, deliveryOf }
}

const headersOf = ({ headers }: Sent) => headers
const hostOf = ({ url }: Sent) => new URL(url).hostname
const textOf = async (sent: Sent) => (await bytesOf(sent)).toString()
const jsonOf = async (sent: Sent) => JSON.parse(await textOf(sent)) as object
const verify = (text: string, headers: Sent['headers']) =>
  new Webhook(secret.toString('base64')).verify(text, { ...headers }, { jsonParse: false })
const hung = (count: number): undefined[] => Array.from({ length: count }, () => undefined)

describe('an outcome', () => {
  test('is sent once, signed, with what it is about in headers and body', async () => {
    const { call, sent, deliveryOf } = await setUp([{}])
    const id = await call()
    expect(sent).toHaveLength(1)
    const [request] = sent as [Sent]
    expect(request.url).toBe(url)
    expect(headersOf(request)).toMatchObject({
      'content-type': 'application/json',
      'x-call-id': 'call',
      'x-oneshot-invocation-id': id,
      'x-function-name': 'test',
      'x-function-status': '200',
    })
    verify(await textOf(request), request.headers)
    expect(await jsonOf(request)).toMatchObject({
      type: 'invocation.completed',
      data: { id, state: 'succeeded', exitCode: 0, stdout: 'hi', stderr: 'aside' },
    })
    expect(await deliveryOf(id)).toMatchObject({
      state: 'delivered',
      tries: 1,
      attempts: [{ status: 200, latencyMs: 7, answer: 'thanks' }],
    })
  })

  const sentAs = async (format: 'raw' | 'cloudevents'): Promise<Sent> => {
    const specs = [functionSpec({ callback: { url: 'http://default.test/', format } })]
    const { accept, next, ended, sent } = await setUp([{}], { specs })
    const id = await accept()
    const { io, end } = await next()
    await io.stdout(Buffer.from('hi'))
    end(exited())
    await ended(id)
    await rest()
    return sent[0]!
  }

  test('is sent as stdout alone, to where the definition says', async () => {
    const request = await sentAs('raw')
    expect(request.url).toBe('http://default.test/')
    expect(headersOf(request)['content-type']).toBe('application/octet-stream')
    expect(await textOf(request)).toBe('hi')
  })

  test('of many MiB is streamed as it is, signed, and again when it is tried again', async () => {
    vi.useRealTimers()
    const { promise: came, resolve } = Promise.withResolvers<void>()
    await using receiver = await receive((_, response) => {
      response.writeHead(receiver.received.length === 1 ? 503 : 204).end()
      if (receiver.received.length === 2) resolve()
    })
    const sender = createSender({ allow: parseAllowList(RECEIVER).rules })
    onTestFinished(() => sender.close())
    const bodies: Sent['body'][] = []
    const send: Send = async (request) => {
      bodies.push(request.body)
      const { headers, ...answered } = await sender.send(request)
      return { ...answered, ...headers }
    }
    const limits = { inputBytes: 1, outputBytes: 1, logBytes: 16 * 1024 ** 2 }
    const callback = { url: `http://${RECEIVER}:${receiver.port}/`, format: 'raw' as const }
    const specs = [functionSpec({ callback, limits })]
    const working = await startWorking({ send, secrets: [secret], specs })
    const { accept, next, ended, deliverer } = working
    const lines = Array.from({ length: 80_000 }, (_, index) => `line ${index} ${'.'.repeat(60)}\n`)
    const text = lines.join('')
    expect(text.length).toBeGreaterThan(5 * 1024 ** 2)
    const id = await accept()
    const { io, end } = await next()
    for (let at = 0; at < text.length; at += 50_000) {
      await io.stdout(Buffer.from(text.slice(at, at + 50_000)))
      await io.stderr(Buffer.from('aside'))
    }
    end(exited())
    await ended(id)
    const [delivery] = await deliverer.list({ invocationId: id }, { limit: 1 })
    await deliverer.retry(delivery!.id)
    await came
    for (const { body, headers } of receiver.received) {
      expect(headers['content-length']).toBe(String(text.length))
      expect(body.toString() === text).toBe(true)
      verify(body.toString(), headers as Record<string, string>)
    }
    expect(bodies.map((it) => it instanceof Uint8Array)).toEqual([false, false])
  })

  test('whose output can not be read is not sent, but tried again', async () => {
    const limits = { inputBytes: 1, outputBytes: 1, logBytes: 1024 ** 2 }
    const specs = [functionSpec({ limits, callback: { format: 'raw' } })]
    const { accept, next, ended, sent, deliveryOf, folder } = await setUp([], { specs })
    const id = await accept('test', { callbackUrl: url })
    const { io, end } = await next()
    await io.stdout(Buffer.alloc(50_000))
    await rm(join(folder, 'outputs', id))
    end(exited())
    await ended(id)
    await vi.waitFor(async () =>
      expect(await deliveryOf(id)).toMatchObject({
        state: 'pending',
        tries: 1,
        attempts: [{ error: 'its output could not be read' }],
      }),
    )
    expect(sent).toEqual([])
  })

  test('is sent as a CloudEvent', async () => {
    const request = await sentAs('cloudevents')
    expect(headersOf(request)['content-type']).toBe('application/cloudevents+json')
    expect(await jsonOf(request)).toMatchObject({
      specversion: '1.0',
      type: 'oneshot.invocation.completed',
      source: '/function/test',
      subject: 'id-1',
      id: headersOf(request)['webhook-id'],
      data: { id: 'id-1', stdout: 'hi' },
    })
  })

  test('of a call that was cancelled while it waited is sent as well', async () => {
    const { accept, next, invocations, sent } = await setUp([{}], { concurrency: 1 })
    await accept()
    await next()
    await invocations.cancel(await accept('test', { callbackUrl: url }))
    await rest()
    expect(sent).toHaveLength(1)
    expect(await jsonOf(sent[0]!)).toMatchObject({ data: { state: 'cancelled' } })
    expect(headersOf(sent[0]!)['x-function-status']).toBe('503')
  })

  test('that nobody wants is not sent', async () => {
    const { accept, next, ended, sent, deliverer } = await setUp([])
    const id = await accept()
    ;(await next()).end(exited())
    await ended(id)
    await rest()
    expect(sent).toEqual([])
    expect(await deliverer.list({}, { limit: 9 })).toEqual([])
  })
})

describe('a delivery', () => {
  test('is written with the outcome, or neither is', async () => {
    const { accept, next, store, live, ended, deliveryOf } = await setUp([undefined])
    const { settle } = store.invocations
    const refused = Promise.withResolvers<void>()
    store.invocations.settle = () => {
      store.invocations.settle = settle
      refused.resolve()
      return Promise.reject(new Error('full'))
    }
    const id = await accept('test', { callbackUrl: url })
    ;(await next()).end(exited())
    await refused.promise
    expect(await store.invocations.find(id)).toMatchObject({ state: 'running' })
    expect(await deliveryOf(id)).toBeUndefined()
    expect(live.has(id)).toBe(true)
    await pass(1000)
    expect(await ended(id)).toMatchObject({ state: 'succeeded' })
    expect(await deliveryOf(id)).toMatchObject({ state: 'pending', tries: 0 })
  })

  test('that fails is tried again with the same id and body, each attempt signed anew', async () => {
    const { call, sent, deliveryOf } = await setUp([
      { status: 503 },
      new Error('ECONNREFUSED'),
      { status: 204 },
    ])
    const id = await call()
    expect(await deliveryOf(id)).toMatchObject({ state: 'pending', dueAt: Date.now() + 5000 })
    await pass(4999)
    expect(sent).toHaveLength(1)
    await pass(1)
    expect(sent).toHaveLength(2)
    await pass(30_000)
    expect(await deliveryOf(id)).toMatchObject({
      state: 'delivered',
      attempts: [{ status: 503 }, { error: 'ECONNREFUSED' }, { status: 204 }],
    })
    const of = (name: string) => new Set(sent.map((it) => headersOf(it)[name])).size
    expect([of('webhook-id'), of('webhook-timestamp'), of('webhook-signature')]).toEqual([1, 3, 3])
    expect(new Set(await Promise.all(sent.map(textOf))).size).toBe(1)
  })

  test('waits for as long as the receiver asks for', async () => {
    const { call, sent } = await setUp([{ status: 429, retryAfter: '60' }, {}])
    await call()
    await pass(59_999)
    expect(sent).toHaveLength(1)
    await pass(1)
    expect(sent).toHaveLength(2)
  })

  test('that the receiver refuses for good is dead, until it is asked for by hand', async () => {
    const { call, sent, deliveryOf, deliverer } = await setUp([{ status: 410 }, {}])
    const id = await call()
    const dead = await deliveryOf(id)
    expect(dead.state).toBe('dead')
    await pass(24 * 3_600_000)
    expect(sent).toHaveLength(1)
    expect(await deliverer.retry(dead.id)).toMatchObject({ state: 'pending', tries: 0 })
    await rest()
    expect(await deliverer.get(dead.id)).toMatchObject({
      state: 'delivered',
      tries: 1,
      attempts: [{ status: 410 }, { status: 200 }],
    })
    expect(headersOf(sent[1]!)['webhook-id']).toBe(dead.id)
  })

  test('whose call is gone is dead at once, without an answer that nobody gave', async () => {
    const { call, sent, deliveryOf, store } = await setUp([{ status: 503 }])
    const id = await call()
    store.invocations.find = () => Promise.resolve(undefined)
    await pass(5000)
    const { state, attempts } = await deliveryOf(id)
    expect([sent.length, state]).toEqual([1, 'dead'])
    expect(attempts[1]).toEqual({
      at: Date.now(),
      latencyMs: 0,
      error: 'its invocation is gone',
    })
  })

  test('that nobody knows can not be asked for', async () => {
    const { deliverer } = await setUp([])
    await expect(deliverer.retry('x')).rejects.toMatchObject({ code: 'delivery_not_found' })
  })

  test('waits for no host that hangs; a host gets four at once, in their order', async () => {
    const { call, sent, hanging, deliveryOf } = await setUp([...hung(4), {}])
    const dead: string[] = []
    for (let count = 0; count < 6; count += 1) {
      dead.push(await call('hi', `http://dead.test:${8000 + count}/`))
    }
    const live = await call('hi', 'http://live.test/')
    expect(await deliveryOf(live)).toMatchObject({ state: 'delivered' })
    const idsOf = () => sent.map((it) => headersOf(it)['x-oneshot-invocation-id'])
    expect(idsOf()).toEqual([...dead.slice(0, 4), live])
    hanging[1]!({ status: 503 })
    await rest()
    expect(idsOf()).toEqual([...dead.slice(0, 4), live, dead[4]])
    hanging[4]!({})
    await rest()
    expect(idsOf().at(-1)).toBe(dead[5])
  })

  test('waits for a place if sixteen are under way', async () => {
    const { call, sent, hanging } = await setUp(hung(20))
    for (let count = 0; count < 18; count += 1) await call('hi', `http://host-${count % 6}.test/`)
    expect(sent).toHaveLength(16)
    hanging[7]!({})
    await rest()
    expect(sent).toHaveLength(17)
    expect(hostOf(sent[16]!)).toBe('host-4.test')
  })

  test('is found behind any number that wait for other hosts', async () => {
    const first = await setUp([])
    await first.deliverer.close()
    for (const host of ['dead', 'gone']) {
      for (let count = 0; count < 40; count += 1) await first.call('hi', `http://${host}.test/`)
    }
    await first.call('hi', 'http://live.test/')
    await first.stop()
    const { sent } = await setUp(hung(20), { folder: first.folder })
    await rest()
    expect(sent.map(hostOf).sort()).toEqual([
      ...Array.from({ length: 4 }, () => 'dead.test'),
      ...Array.from({ length: 4 }, () => 'gone.test'),
      'live.test',
    ])
  })

  test('that is asked for twice while it is tried begins anew when that is over', async () => {
    const { call, sent, hanging, deliveryOf, deliverer, store } = await setUp(hung(2))
    const id = await call()
    const { id: delivery } = await deliveryOf(id)
    const { update } = store.deliveries
    const written = Promise.withResolvers<void>()
    let updates = 0
    store.deliveries.update = async (delivery) => {
      updates += 1
      if (updates === 3) await written.promise
      await update(delivery)
    }
    const retried = Promise.all([deliverer.retry(delivery), deliverer.retry(delivery)])
    await rest()
    expect([sent.length, updates]).toEqual([1, 0])
    hanging[0]!({ status: 410 })
    await rest()
    // The try, and both renewals, one after the other.
    expect([sent.length, updates]).toEqual([1, 3])
    written.resolve()
    expect(await retried).toMatchObject([
      { state: 'pending', tries: 0, attempts: [{ status: 410 }] },
      { state: 'pending', tries: 0, attempts: [{ status: 410 }] },
    ])
    await rest()
    expect(sent).toHaveLength(2)
    hanging[1]!({})
    await rest()
    expect(await deliveryOf(id)).toMatchObject({
      state: 'delivered',
      tries: 1,
      attempts: [{ status: 410 }, { status: 200 }],
    })
  })

  test('is not tried while it is renewed', async () => {
    const { call, sent, deliveryOf, deliverer, store } = await setUp([{ status: 503 }, {}])
    const id = await call()
    const { update } = store.deliveries
    const written = Promise.withResolvers<void>()
    store.deliveries.update = async (delivery) => {
      store.deliveries.update = update
      await written.promise
      await update(delivery)
    }
    const retried = deliverer.retry((await deliveryOf(id)).id)
    await pass(5000)
    expect(sent).toHaveLength(1)
    written.resolve()
    expect(await retried).toMatchObject({ state: 'pending', tries: 0 })
    await rest()
    expect(sent).toHaveLength(2)
    expect(await deliveryOf(id)).toMatchObject({
      state: 'delivered',
      tries: 1,
      attempts: [{ status: 503 }, { status: 200 }],
    })
  })

  test('is tried as it is on record, though it was found before it was renewed', async () => {
    const { call, sent, deliveryOf, deliverer, store } = await setUp([{ status: 503 }, {}])
    const id = await call()
    const { listDue } = store.deliveries
    const told = Promise.withResolvers<void>()
    store.deliveries.listDue = async (...asked) => {
      const due = await listDue(...asked)
      store.deliveries.listDue = listDue
      await told.promise
      return due
    }
    await pass(5000)
    await deliverer.retry((await deliveryOf(id)).id)
    told.resolve()
    await rest()
    expect(sent).toHaveLength(2)
    expect(await deliveryOf(id)).toMatchObject({ state: 'delivered', tries: 1 })
  })

  test('that can not be written down is written again every second, not sent again', async () => {
    const { call, sent, hanging, deliveryOf, store } = await setUp([undefined])
    const id = await call()
    const { update } = store.deliveries
    let refusals = 0
    store.deliveries.update = () => {
      refusals += 1
      return Promise.reject(new Error('full'))
    }
    hanging[0]!({})
    await pass(999)
    expect(refusals).toBe(1)
    await pass(1)
    await pass(1000)
    expect([sent.length, refusals]).toEqual([1, 3])
    expect(await deliveryOf(id)).toMatchObject({ state: 'pending', tries: 0 })
    store.deliveries.update = update
    await pass(1000)
    expect(await deliveryOf(id)).toMatchObject({ state: 'delivered', tries: 1 })
    expect(sent).toHaveLength(1)
  })

  test('that can not be written down holds up no end', async () => {
    const { call, sent, hanging, deliverer, store } = await setUp([undefined])
    await call()
    store.deliveries.update = () => Promise.reject(new Error('full'))
    hanging[0]!({})
    await rest()
    await deliverer.close()
    expect(sent).toHaveLength(1)
  })

  test('goes on after a restart with the same id; what was under way counts as no try', async () => {
    const first = await setUp([{ status: 500 }, undefined])
    const id = await first.call()
    await pass(5000)
    expect(first.sent).toHaveLength(2)
    await first.gateway.close(0)
    await first.stop()
    const second = await setUp([{}], { folder: first.folder })
    await rest()
    expect(await second.deliveryOf(id)).toMatchObject({
      state: 'delivered',
      tries: 2,
      attempts: [{ status: 500 }, { status: 200 }],
    })
    const all = [...first.sent, ...second.sent]
    expect(new Set(all.map((it) => headersOf(it)['webhook-id'])).size).toBe(1)
  })
})

test('a try that falls due while the deliveries are looked through is made all the same', async () => {
  let passedMs = 0
  const clock = () => Date.now() + passedMs
  const { call, sent, deliveryOf, store } = await setUp([new Error('no'), undefined, {}], { clock })
  const id = await call()
  const { dueAt } = await deliveryOf(id)
  await pass(dueAt - Date.now() - 5)
  const list = store.deliveries.listDue
  store.deliveries.listDue = async (...args) => {
    const due = await list(...args)
    passedMs = 10
    return due
  }
  await call('other')
  await pass(5)
  expect(sent.map(({ headers }) => headers['x-oneshot-invocation-id'])).toEqual([
    id,
    expect.not.stringContaining(id),
    id,
  ])
})
