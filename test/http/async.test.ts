import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { accept, exited, getJson, problemOf, start } from './asynchronous.ts'
import { post, send, serve } from './serve.ts'

const ways = [
  ['POST /async-function/NAME', '/async-function/test', {}],
  ['Prefer: respond-async', '/function/test', { Prefer: 'respond-async' }],
] as const

describe.each(ways)('%s', (_, path, headers) => {
  test('is answered 202 before the command has ended, with where to look and when', async () => {
    const { url, next } = await serve()
    const answer = await post(`${url}${path}`, 'input', { 'X-Call-Id': 'mine', ...headers })
    expect(answer.status).toBe(202)
    const accepted = JSON.parse(String(await answer.body())) as { id: string }
    expect(accepted).toEqual({
      id: expect.any(String) as string,
      function: 'test',
      state: 'queued',
    })
    expect(answer.headers).toMatchObject({
      location: `/invocations/${accepted.id}`,
      'retry-after': '1',
      'x-call-id': 'mine',
      'x-oneshot-invocation-id': accepted.id,
    })
    const { task, io, end } = await next()
    expect([task.invocationId, await text(io.stdin as never)]).toEqual([accepted.id, 'input'])
    end(exited(0))
    const status = await getJson(`${url}/invocations/${accepted.id}?wait=30`)
    expect(status).toMatchObject({ state: 'succeeded', mode: 'async', callId: 'mine' })
  })

  test('says which preference was honoured, if there was one', async () => {
    const { url } = await serve()
    const answer = await post(`${url}${path}`, '', headers)
    expect(answer.headers['preference-applied']).toBe(
      'Prefer' in headers ? 'respond-async' : undefined,
    )
  })

  test.each([
    ['an unknown function', '/nope', {}, 404, 'function_not_found'],
    ['a parameter that is not declared', '?x=1', {}, 422, 'parameters_invalid'],
    ['a form that there is not', '', { Accept: 'image/png' }, 406, 'not_acceptable'],
    ['a wrong key', '', { 'Idempotency-Key': '"' }, 400, 'bad_request'],
    ['a wrong label', '', { 'X-Oneshot-Labels': 'a b' }, 400, 'bad_request'],
    ['a wrong callback', '', { 'X-Callback-Url': 'x' }, 422, 'callback_refused'],
  ])('refuses %s at once', async (_what, suffix, more, expected, code) => {
    const { url } = await serve()
    const target = suffix.startsWith('/') ? path.replace('/test', suffix) : `${path}${suffix}`
    const init = { method: 'POST', headers: { ...headers, ...more } }
    const answer = await fetch(`${url}${target}`, init)
    expect(answer.status).toBe(expected)
    expect(answer.headers.has('location')).toBe(false)
    expect(await problemOf(answer)).toMatchObject({ code })
    expect(await getJson(`${url}/invocations`)).toEqual({ invocations: [] })
  })

  test('refuses a body that is longer than the function allows, said or unsaid', async () => {
    const { url } = await serve({ limits: { inputBytes: 4, outputBytes: 1, logBytes: 1 } })
    expect((await post(`${url}${path}`, '12345', headers)).status).toBe(413)
    const sent = send(`${url}${path}`, { ...headers, 'Transfer-Encoding': 'chunked' })
    sent.write('123')
    sent.write('45')
    expect((await sent.response).statusCode).toBe(413)
    expect(await getJson(`${url}/invocations`)).toEqual({ invocations: [] })
  })

  test('takes nothing of a body that breaks off', async () => {
    const { url } = await serve()
    const sent = send(`${url}${path}`, {
      ...headers,
      'Content-Length': 100,
      Expect: '100-continue',
    })
    await sent.continued
    sent.write('half')
    sent.abort()
    await sent.closed
    expect(await getJson(`${url}/invocations`)).toEqual({ invocations: [] })
  })

  test('takes calls beyond the concurrency, to be run later', async () => {
    const served = await serve({}, { concurrency: 1, queueLength: 0 })
    const first = await start(served)
    const second = await accept(served)
    expect(await getJson(`${served.url}/invocations/${second}`)).toMatchObject({ state: 'queued' })
    first.end(exited(0))
    const { task, end } = await served.next()
    expect(task.invocationId).toBe(second)
    end(exited(0))
  })
})

test.each(['GET', 'PUT', 'DELETE', 'HEAD', 'PATCH'])(
  '%s /async-function/NAME is answered 405 with the method that it takes',
  async (method) => {
    const { url } = await serve()
    const answer = await fetch(`${url}/async-function/test`, { method })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
  },
)

describe('labels', () => {
  test('are kept, each once, without the spaces around them', async () => {
    const served = await serve()
    const id = await accept(served, { 'X-Oneshot-Labels': ' team=a ,b:c/d.e-f_g,, team=a ' })
    const { labels } = await getJson(`${served.url}/invocations/${id}`)
    expect(labels).toEqual(['team=a', 'b:c/d.e-f_g'])
  })

  test.each([
    ['a character that is none of a label', 'a"b'],
    ['a space within', 'a b'],
    ['one too many', Array.from({ length: 17 }, (_, index) => `l${index}`).join(',')],
    ['one that is too long', 'x'.repeat(101)],
    ['a character of Latin-1', 'caf\u00e9'],
  ])('with %s are refused, with what is allowed', async (_, labels) => {
    const { url } = await serve()
    const answer = await post(`${url}/async-function/test`, '', { 'X-Oneshot-Labels': labels })
    expect(answer.status).toBe(400)
    expect(JSON.parse(String(await answer.body()))).toMatchObject({
      code: 'bad_request',
      detail: expect.stringContaining('up to 16 labels') as string,
    })
  })
})

describe('a call whose caller waits', () => {
  test('is on record as well, with its labels, its answer and its logs', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { 'X-Oneshot-Labels': 'x' })
    const { io, end, task } = await next()
    await io.stdout(Buffer.from('out'))
    end(exited(1))
    const envelope = String(await (await answer).body())
    const path = `${url}/invocations/${task.invocationId}`
    expect(await getJson(path)).toMatchObject({ mode: 'sync', state: 'failed', labels: ['x'] })
    expect(await (await fetch(`${path}/result`)).text()).toBe(envelope)
    expect(await (await fetch(`${path}/logs`)).text()).toBe('out')
  })

  test('is stopped when it leaves, which is then on record', async () => {
    const { url, next } = await serve()
    const sent = send(`${url}/function/test`, { 'Content-Length': 0 })
    const { stop, end, task } = await next()
    const stopped = new Promise((resolve) => stop.addEventListener('abort', resolve))
    sent.abort()
    await stopped
    end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
    const status = await getJson(`${url}/invocations/${task.invocationId}?wait=30`)
    expect(status).toMatchObject({ state: 'cancelled', exitCode: 143 })
  })
})
