import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { Problem } from '../../src/http/errors.ts'
import { post, send, serve } from './serve.ts'

const exited = { kind: 'exited', exitCode: 0, oomKilled: false } as const
const integer = { parameters: { n: { type: 'integer', required: true } } } as const

/** Sends `head` as it stands, and reads the answer to its end. */
async function ask(url: string, ...head: readonly string[]) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.end([...head, 'Connection: close', '', ''].join('\r\n'))
  const answer = await text(socket)
  const [top = '', body = ''] = answer.split('\r\n\r\n')
  const [status = '', ...lines] = top.split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()]
    }),
  ) as Record<string, string>
  return { status: Number(status.split(' ')[1]), headers, body }
}

const ofEveryAnswer = {
  'x-call-id': 'mine',
  'x-duration-seconds': expect.stringMatching(/^\d+\.\d{3}$/) as string,
  'server-timing': expect.stringMatching(/^total;dur=\d+$/) as string,
}

describe('a request that cannot be taken as it stands', () => {
  const host = 'Host: localhost'
  test.each([
    ['names no host', 400, 'bad_request', ['GET /healthz HTTP/1.1']],
    ['names a host that is none', 400, 'bad_request', ['GET /healthz HTTP/1.1', 'Host: a b']],
    ['has a bad absolute target', 400, 'bad_request', ['GET http://a:b/healthz HTTP/1.1', host]],
    ['has no path', 400, 'bad_request', ['OPTIONS * HTTP/1.1', host]],
    [
      'accepts nothing that there is',
      406,
      'not_acceptable',
      ['POST /function/test HTTP/1.1', host, 'Accept: image/png'],
    ],
    [
      'expects what we cannot meet',
      417,
      'expectation_failed',
      ['POST /function/test HTTP/1.1', host, 'Expect: more'],
    ],
  ])('because it %s is answered %i %s, as a problem', async (_, status, code, head) => {
    const { url } = await serve()
    const answer = await ask(url, ...head, 'X-Call-Id: mine')
    expect(answer.status).toBe(status)
    expect(answer.headers).toMatchObject({
      ...ofEveryAnswer,
      'content-type': 'application/problem+json',
    })
    expect(Problem.parse(JSON.parse(answer.body))).toMatchObject({ code, status })
  })

  test.each([
    '/function/../function/test',
    '/function/./test',
    '/x/%2e%2E/function/test',
    '/x/.%2e/function/test?q',
    '/functions/test/..',
    'http://here/x/../function/test',
  ])('because its path leads elsewhere, %s, is answered 404', async (target) => {
    const { url } = await serve()
    const { status, body } = await ask(url, `POST ${target} HTTP/1.1`, host)
    expect([status, Problem.parse(JSON.parse(body)).code]).toEqual([404, 'not_found'])
  })
})

describe('an answer', () => {
  test.each([
    ['GET', '/healthz', 200],
    ['GET', '/functions', 200],
    ['GET', '/openapi.json', 200],
    ['GET', '/nowhere', 404],
    ['GET', '/function/test', 405],
    ['POST', '/function/nosuch', 404],
  ])('to %s %s says whose call it was and how long it took', async (method, path, status) => {
    const { url } = await serve()
    const sent = send(`${url}${path}`, { 'X-Call-Id': 'mine' }, method)
    sent.end()
    const response = await sent.response
    expect(response.statusCode).toBe(status)
    expect(response.headers).toMatchObject(ofEveryAnswer)
    response.resume()
  })

  test('comes to a client of HTTP/1.0 that names no host', async () => {
    const { url } = await serve()
    expect(await ask(url, 'GET /healthz HTTP/1.0')).toMatchObject({
      status: 200,
      body: '{"status":"ok"}',
    })
  })
})

test('a client that waits with its body is asked for it however it says so', async () => {
  const { url, next } = await serve()
  const sent = send(`${url}/function/test`, { Expect: '100-Continue, ', 'Content-Length': 1 })
  const { io, end } = await next()
  const input = text(io.stdin as never)
  await sent.continued
  sent.write('x')
  sent.end()
  expect(await input).toBe('x')
  end(exited)
  expect((await sent.response).statusCode).toBe(200)
})

describe('the log', () => {
  const warn = 40
  const error = 50

  test('has a fault with all that is known of it', async () => {
    const { url, next, logs } = await serve()
    const answer = post(`${url}/function/test`, '', { 'X-Call-Id': 'mine' })
    ;(await next()).fail(new Error('the cause'))
    expect((await answer).status).toBe(500)
    expect(logs).toEqual([
      expect.objectContaining({
        level: error,
        callId: 'mine',
        path: '/function/test',
        err: expect.objectContaining({ message: 'the cause' }) as object,
      }),
    ])
  })

  test('has a fault of the engine in a line, and nothing of what a client did wrong', async () => {
    const { url, next, logs } = await serve()
    expect((await post(`${url}/function/nosuch`)).status).toBe(404)
    const answer = post(`${url}/function/test`)
    ;(await next()).fail(new OneshotError('engine_unreachable', 'It is off.'))
    expect((await answer).status).toBe(503)
    expect(logs).toEqual([
      expect.objectContaining({ level: warn, code: 'engine_unreachable', msg: 'It is off.' }),
    ])
    expect(logs[0]).not.toHaveProperty('err')
  })

  test('takes a client that leaves while it sends its parameters for no fault', async () => {
    const { url, logs } = await serve(integer)
    const sent = send(`${url}/function/test`, {
      'Content-Type': 'application/json',
      'Content-Length': 100,
      Expect: '100-continue',
    })
    await sent.continued
    sent.write('{"n":')
    sent.abort()
    await vi.waitFor(() => expect(logs).not.toEqual([]))
    expect(logs).toEqual([expect.objectContaining({ level: 20, msg: 'the client went away' })])
  })
})

test('a call that was answered leaves its connection to the next', async () => {
  const { url } = await serve()
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  for (const path of ['/healthz', '/function/../x', '/healthz']) {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(String(answer)).toMatch(path === '/healthz' ? /^HTTP\/1.1 200/ : /^HTTP\/1.1 404/)
  }
  socket.destroy()
})
