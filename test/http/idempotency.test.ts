import { describe, expect, test } from 'vitest'
import { exited, getJson, problemOf, watchWaiting } from './asynchronous.ts'
import { post, send, serve } from './serve.ts'

const keyed = { 'Idempotency-Key': '"8e03978e-40d5-43dd-bc93-6894a57f9324"' }
const word = { type: 'string', required: true } as const

async function countInvocations(url: string): Promise<number> {
  const { invocations } = await getJson(`${url}/invocations`)
  return (invocations as unknown[]).length
}

describe('a second request with the same Idempotency-Key', () => {
  test("is given the first one's answer, byte for byte, and nothing runs again", async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, 'body', keyed)
    const { io, end } = await next()
    await io.stdout(Buffer.from('out'))
    end(exited(4))
    const first = await answer
    const again = await post(`${url}/function/test`, 'body', keyed)
    expect([first.status, again.status]).toEqual([200, 200])
    expect(String(await again.body())).toBe(String(await first.body()))
    expect(first.headers).not.toHaveProperty('idempotency-replayed')
    expect(again.headers).toMatchObject({
      'idempotency-replayed': 'true',
      'x-oneshot-invocation-id': first.headers['x-oneshot-invocation-id'],
      'x-oneshot-exit-code': '4',
    })
    expect(await countInvocations(url)).toBe(1)
  })

  test('is answered in the form that it asks for itself', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', keyed)
    const { io, end } = await next()
    await io.stdout(Buffer.from('out'))
    end(exited(0))
    await answer
    const again = await post(`${url}/function/test`, '', { ...keyed, Accept: 'text/plain' })
    expect([again.status, String(await again.body())]).toEqual([200, 'out'])
  })

  test('while the first still runs is answered 409, with the place of the first', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, 'body', keyed)
    const { task, end } = await next()
    const init = { method: 'POST', body: 'body', headers: keyed }
    const again = await fetch(`${url}/function/test`, init)
    expect(again.status).toBe(409)
    expect(again.headers.get('location')).toBe(`/invocations/${task.invocationId}`)
    expect(again.headers.get('retry-after')).toBe('1')
    expect(again.headers.has('idempotency-replayed')).toBe(false)
    expect(await problemOf(again)).toMatchObject({ code: 'key_in_use' })
    end(exited(0))
    expect((await answer).status).toBe(200)
  })

  test.each([
    ['another body', 'other', '/function/test'],
    ['no body', '', '/function/test'],
  ])('but %s is refused', async (_, body, path) => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, 'body', keyed)
    ;(await next()).end(exited(0))
    await answer
    const again = await post(`${url}${path}`, body, keyed)
    expect(again.status).toBe(422)
    expect(JSON.parse(String(await again.body()))).toMatchObject({ code: 'key_reused' })
    expect(await countInvocations(url)).toBe(1)
  })

  test('but other parameters is refused, be they in JSON or in the query', async () => {
    const { url, next } = await serve({ parameters: { word } })
    const json = { ...keyed, 'Content-Type': 'application/json' }
    const answer = post(`${url}/function/test`, '{"word": "a"}', json)
    ;(await next()).end(exited(0))
    await answer
    const same = await post(`${url}/function/test`, '{"word": "a"}', json)
    const inJson = await post(`${url}/function/test`, '{"word": "b"}', json)
    const inQuery = await post(`${url}/function/test?word=b`, '', keyed)
    expect([same.status, inJson.status, inQuery.status]).toEqual([200, 422, 422])
  })

  test('of an accepted call is answered 202 again, whether that has ended or not', async () => {
    const { url, next } = await serve()
    const first = await post(`${url}/async-function/test`, 'x', keyed)
    const again = await post(`${url}/async-function/test`, 'x', keyed)
    const { end } = await next()
    end(exited(0))
    await getJson(`${url}${first.headers.location}?wait=30`)
    const later = await post(`${url}/async-function/test`, 'x', keyed)
    expect([first.status, again.status, later.status]).toEqual([202, 202, 202])
    expect(first.headers).not.toHaveProperty('idempotency-replayed')
    for (const { headers } of [again, later]) {
      const { location } = first.headers
      expect(headers).toMatchObject({ location, 'idempotency-replayed': 'true' })
    }
  })

  test('runs once however many come at the same time', async () => {
    const { url, next } = await serve()
    const answers = Array.from({ length: 8 }, () => post(`${url}/async-function/test`, 'x', keyed))
    const locations = (await Promise.all(answers)).map(({ headers }) => headers.location)
    expect(new Set(locations).size).toBe(1)
    ;(await next()).end(exited(0))
    expect(await countInvocations(url)).toBe(1)
  })

  test('may come in a body of megabytes', async () => {
    const { url, next } = await serve()
    const body = Buffer.alloc(3 * 1024 ** 2, 'a')
    const answer = post(`${url}/function/test`, body, keyed)
    ;(await next()).end(exited(0))
    await answer
    expect((await post(`${url}/function/test`, body, keyed)).status).toBe(200)
    expect((await post(`${url}/function/test`, Buffer.alloc(1024), keyed)).status).toBe(422)
  })
})

test('a call with a key goes on without its client, who finds its answer by the key', async () => {
  const { url, next, live } = await serve()
  const { waiting, left } = watchWaiting(live)
  const sent = send(`${url}/function/test`, { ...keyed, 'Content-Length': 0 })
  const { stop, task, io, end } = await next()
  await waiting
  sent.abort()
  await left()
  expect(stop.aborted).toBe(false)
  await io.stdout(Buffer.from('out'))
  end(exited(0))
  await getJson(`${url}/invocations/${task.invocationId}?wait=30`)
  const again = await post(`${url}/function/test`, '', { ...keyed, Accept: 'text/plain' })
  expect([again.status, String(await again.body())]).toEqual([200, 'out'])
})

test('a request that was refused does not use its key up', async () => {
  const { url } = await serve({ parameters: { word } })
  const wrong = await post(`${url}/async-function/test`, '', keyed)
  const right = await post(`${url}/async-function/test?word=a`, '', keyed)
  expect([wrong.status, right.status]).toEqual([422, 202])
})

describe('an Idempotency-Key', () => {
  test.each([
    ['quotes within', '"a\\"b\\\\c"'],
    ['spaces and commas within its quotes', '"a b, c"'],
    ['no quotes', 'a-b_c.d:e/f=g+h'],
    ['255 characters', `"${'k'.repeat(255)}"`],
  ])('with %s is taken', async (_, key) => {
    const { url } = await serve()
    const headers = { 'Idempotency-Key': key }
    const first = await post(`${url}/async-function/test`, '', headers)
    const again = await post(`${url}/async-function/test`, '', headers)
    expect(first.status).toBe(202)
    expect(again.headers).toMatchObject({ 'idempotency-replayed': 'true' })
  })

  test('is the same with quotes and without', async () => {
    const { url } = await serve()
    await post(`${url}/async-function/test`, '', { 'Idempotency-Key': 'abc' })
    const again = await post(`${url}/async-function/test`, '', { 'Idempotency-Key': '"abc"' })
    expect(again.headers).toMatchObject({ 'idempotency-replayed': 'true' })
  })

  test.each([
    ['nothing in it', ''],
    ['nothing in its quotes', '""'],
    ['no end of its quotes', '"abc'],
    ['a quote that ends it early', '"a"b"'],
    ['an escape that there is not', '"a\\n"'],
    ['a space outside of quotes', 'a b'],
    ['256 characters', 'k'.repeat(256)],
    ['a character of Latin-1', 'caf\u00e9'],
    ['another beside it', ['"a"', '"b"']],
  ])('with %s is refused', async (_, key) => {
    const { url } = await serve()
    const answer = await post(`${url}/function/test`, '', { 'Idempotency-Key': key })
    expect(answer.status).toBe(400)
    expect(JSON.parse(String(await answer.body()))).toMatchObject({
      code: 'bad_request',
      detail: expect.stringContaining('Idempotency-Key') as string,
    })
  })
})
