import { describe, expect, test, vi } from 'vitest'
import type { Send } from '../../src/gateway/deliver.ts'
import { bytesOf } from '../gateway/working.ts'
import { exited, getJson, problemOf, start } from './asynchronous.ts'
import { post, serve } from './serve.ts'

const target = 'http://127.0.0.1:9/hook?x=1'

/** A receiver that answers when the test says so. */
function createReceiver() {
  type Sent = Parameters<Send>[0] & { answer(status: number, text?: string): void }
  const requests: Sent[] = []
  const wanted: ((sent: Sent) => void)[] = []
  const send: Send = (request) => {
    const { promise, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<Send>>>()
    request.signal.addEventListener('abort', () => reject(new Error('broken off')))
    const sent = {
      ...request,
      answer: (status: number, answer = '') => resolve({ status, answer, latencyMs: 5 }),
    }
    const taker = wanted.shift()
    if (taker) taker(sent)
    else requests.push(sent)
    return promise
  }
  const next = (): Promise<Sent> => {
    const sent = requests.shift()
    return sent ? Promise.resolve(sent) : new Promise((resolve) => wanted.push(resolve))
  }
  return { send, next }
}

/** A server, and a delivery of it that has been tried once and answered `status`. */
async function serveDelivered(status: number) {
  const receiver = createReceiver()
  const served = await serve({}, { send: receiver.send })
  const { end } = await start(served, { 'X-Callback-Url': target })
  end(exited(0))
  const sent = await receiver.next()
  const { update } = served.store.deliveries
  const recorded = new Promise<void>((resolve) => {
    vi.spyOn(served.store.deliveries, 'update').mockImplementation(async (delivery) => {
      await update(delivery)
      resolve()
    })
  })
  sent.answer(status, 'thanks')
  const delivery = sent.headers['webhook-id']!
  const path = `${served.url}/deliveries/${delivery}`
  return { ...served, receiver, delivery, path, body: sent.body, recorded }
}

describe('a callback', () => {
  test.each(['X-Callback-Url', 'X-Oneshot-Callback-Url'])(
    'that %s asks for brings the outcome, and is on record',
    async (name) => {
      const receiver = createReceiver()
      const served = await serve({}, { send: receiver.send })
      const { id, io, end } = await start(served, { [name]: target, 'X-Call-Id': 'mine' })
      expect(await getJson(`${served.url}/deliveries`)).toEqual({ deliveries: [] })
      await io.stdout(Buffer.from('out'))
      end(exited(2))
      const sent = await receiver.next()
      expect(sent.url).toBe(target)
      expect(sent.headers).toMatchObject({ 'x-call-id': 'mine', 'x-oneshot-invocation-id': id })
      expect(JSON.parse(String(await bytesOf(sent)))).toMatchObject({
        data: { id, exitCode: 2, stdout: 'out' },
      })
      const { deliveries } = await getJson(`${served.url}/deliveries?invocation=${id}`)
      expect(deliveries).toEqual([
        {
          id: sent.headers['webhook-id'],
          invocation: id,
          function: 'test',
          url: target,
          format: 'envelope',
          state: 'pending',
          createdAt: expect.any(String) as string,
          dueAt: expect.any(String) as string,
          attempts: [],
        },
      ])
    },
  )

  test('of a call whose caller waits is sent as well', async () => {
    const receiver = createReceiver()
    const { url, next } = await serve({}, { send: receiver.send })
    const answer = post(`${url}/function/test`, '', { 'X-Callback-Url': target })
    ;(await next()).end(exited(0))
    expect((await answer).status).toBe(200)
    expect((await receiver.next()).url).toBe(target)
  })

  test('goes where X-Oneshot-Callback-Url says if both are there', async () => {
    const receiver = createReceiver()
    const served = await serve({}, { send: receiver.send })
    const { end } = await start(served, {
      'X-Callback-Url': 'http://127.0.0.1:9/a',
      'X-Oneshot-Callback-Url': 'http://127.0.0.1:9/b',
    })
    end(exited(0))
    expect((await receiver.next()).url).toBe('http://127.0.0.1:9/b')
  })

  test.each([
    ['', 'is no URL'],
    ['hook', 'is no URL'],
    ['/hook', 'is no URL'],
    ['ftp://127.0.0.1/', 'must begin with http'],
    ['file:///etc/passwd', 'must begin with http'],
    ['http://user:secret@example.com/', 'user name or a password'],
    ['http://10.0.0.1/', 'not allowed'],
    ['http://169.254.169.254/latest/meta-data', 'not allowed'],
    ['http://[::1]/', 'not allowed'],
    ['http://2130706434/', 'not allowed'],
    ['http://0x7f.2/', 'not allowed'],
    ['http://[::ffff:10.0.0.1]/', 'not allowed'],
    ['http://127.0.0.1:0/', 'no port'],
    [`http://example.com/${'x'.repeat(2048)}`, 'longer than'],
    ['http://127.0.0.1/a, http://127.0.0.1/b', 'is no URL'],
  ])('to %s is refused before anything runs', async (url, reason) => {
    const served = await serve()
    for (const path of ['/function/test', '/async-function/test']) {
      const answer = await post(`${served.url}${path}`, '', { 'X-Callback-Url': url })
      expect(answer.status).toBe(422)
      const problem = JSON.parse(String(await answer.body())) as { detail: string }
      expect(problem).toMatchObject({ code: 'callback_refused' })
      expect(problem.detail).toContain(reason)
      expect(problem.detail).not.toContain('secret')
    }
    expect(await getJson(`${served.url}/invocations`)).toEqual({ invocations: [] })
  })
})

describe('GET /deliveries/ID', () => {
  test.each([
    [204, 'delivered'],
    [400, 'dead'],
    [503, 'pending'],
  ])('tells of an attempt that was answered %i that it is %s', async (status, state) => {
    const { path, recorded } = await serveDelivered(status)
    await recorded
    const told = await getJson(path)
    const attempt = { at: expect.any(String) as string, status, latencyMs: 5, answer: 'thanks' }
    expect(told).toMatchObject({ state, attempts: [attempt] })
    expect('dueAt' in told).toBe(state === 'pending')
  })

  test.each(['nope', '%00', '%ff', 'a%2Fb', 'msg_', "'--"])('%s is answered 404', async (id) => {
    const { url } = await serve()
    const found = await fetch(`${url}/deliveries/${id}`)
    const retried = await fetch(`${url}/deliveries/${id}/retry`, { method: 'POST' })
    for (const answer of [found, retried]) {
      expect(await problemOf(answer)).toMatchObject({ status: 404, code: 'delivery_not_found' })
    }
  })
})

describe('POST /deliveries/ID/retry', () => {
  test('sends the same again, under the same id', async () => {
    const { path, receiver, body, delivery, recorded } = await serveDelivered(204)
    await recorded
    const renewed = await getJson(`${path}/retry`, { method: 'POST' })
    expect(renewed).toMatchObject({ id: delivery, state: 'pending' })
    const again = await receiver.next()
    expect(again.headers['webhook-id']).toBe(delivery)
    expect(again.body).toEqual(body)
  })
})

describe('GET /deliveries', () => {
  test('pages through all of them, each once, and takes a state and an invocation', async () => {
    const receiver = createReceiver()
    const served = await serve({}, { send: receiver.send })
    const ids: string[] = []
    const invocations: string[] = []
    for (let count = 0; count < 5; count += 1) {
      const { id, end } = await start(served, { 'X-Callback-Url': target })
      end(exited(0))
      const sent = await receiver.next()
      sent.answer(503)
      ids.push(sent.headers['webhook-id']!)
      invocations.push(id)
    }
    const seen: string[] = []
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const page = await getJson(`${served.url}/deliveries?limit=2&cursor=${cursor}`)
      seen.push(...(page['deliveries'] as { id: string }[]).map(({ id }) => id))
      cursor = page['next'] as string | undefined
    }
    expect(seen).toEqual(ids.sort().toReversed())
    const find = async (query: string) => {
      const { deliveries } = await getJson(`${served.url}/deliveries?${query}`)
      return (deliveries as { invocation: string }[]).map(({ invocation }) => invocation)
    }
    expect(await find(`invocation=${invocations[2]}&state=pending`)).toEqual([invocations[2]])
    expect(await find(`invocation=${invocations[2]}&state=dead`)).toEqual([])
    expect(await find('invocation=nope')).toEqual([])
  })

  test.each(['state=done', 'limit=0', 'limit=x', 'state='])('refuses %s', async (query) => {
    const { url } = await serve()
    const problem = await problemOf(await fetch(`${url}/deliveries?${query}`))
    expect(problem).toMatchObject({ status: 400, code: 'bad_request' })
  })
})
