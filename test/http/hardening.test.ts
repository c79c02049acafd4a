import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { startAccess } from '../access/credentials.ts'
import { exited, problemOf } from './asynchronous.ts'
import { post, serve } from './serve.ts'

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}
const app = 'https://app.example.com'

/** What a socket gets for some lines. */
async function tell(url: string, ...lines: readonly string[]): Promise<string> {
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(`${[...lines, 'Connection: close'].join('\r\n')}\r\n\r\n`)
  return text(socket)
}

describe('every answer has the headers that keep browsers at bay', () => {
  test.each(['/healthz', '/nothing', '/functions/none', '/metrics', '/openapi.json'])(
    '%s',
    async (path) => {
      const { url } = await serve()
      expect(Object.fromEntries((await fetch(`${url}${path}`)).headers)).toMatchObject(HEADERS)
    },
  )

  test.each(['application/json', 'text/plain', 'text/event-stream'])(
    'a call, as %s',
    async (form) => {
      const { url, next } = await serve()
      const answer = post(`${url}/function/test`, '', { Accept: form })
      const task = await next()
      task.end(exited(0))
      const { status, headers } = await answer
      expect(status).toBe(200)
      expect(headers).toMatchObject(HEADERS)
    },
  )

  test('also one that says the request can not be read', async () => {
    const { url } = await serve()
    const answer = (await tell(url, 'GET /healthz HTTP/1.1', 'Host: a b')).toLowerCase()
    expect(answer).toContain('400 bad request')
    expect(answer).toContain('x-content-type-options: nosniff')
  })
})

describe('a web page of another origin', () => {
  const authenticated = async () => {
    const { authenticator, bearer } = await startAccess({ key: ['admin'] })
    return { authenticator, Authorization: bearer('key') }
  }

  test('may read nothing, unless its origin is allowed', async () => {
    const { authenticator, Authorization } = await authenticated()
    const { url } = await serve({}, { authenticator, corsOrigins: [app] })
    const ask = async (Origin: string) =>
      (await fetch(`${url}/nodes`, { headers: { Origin, Authorization } })).headers
    expect((await ask(app)).get('access-control-allow-origin')).toBe(app)
    expect((await ask(app)).get('vary')).toContain('Origin')
    for (const other of ['https://other.example.com', `${app}.evil`, `${app}:8443`, 'null']) {
      expect((await ask(other)).get('access-control-allow-origin')).toBeNull()
    }
    const { url: closed } = await serve({}, { authenticator })
    const { headers } = await fetch(`${closed}/nodes`, { headers: { Origin: app, Authorization } })
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })

  test('that is allowed may read calls too, and their refusals', async () => {
    const { authenticator, Authorization } = await authenticated()
    const { url, next } = await serve({}, { authenticator, corsOrigins: [app] })
    const answer = post(`${url}/function/test`, '', { Origin: app, Authorization })
    const task = await next()
    task.end(exited(0))
    const { headers, body } = await answer
    expect(headers).toMatchObject({
      ...HEADERS,
      'access-control-allow-origin': app,
      vary: 'Origin',
    })
    expect(headers['access-control-expose-headers']).toContain('X-Call-Id')
    expect(JSON.parse(String(await body()))).toHaveProperty('exitCode', 0)
    const refused = await fetch(`${url}/nodes`, { headers: { Origin: app } })
    expect(refused.status).toBe(401)
    expect(refused.headers.get('access-control-allow-origin')).toBe(app)
  })

  test('that is allowed has its preflights answered, which bring no credentials', async () => {
    const { authenticator } = await authenticated()
    const { url } = await serve({}, { authenticator, corsOrigins: [app] })
    const ask = (Origin: string) =>
      fetch(`${url}/function/test`, {
        method: 'OPTIONS',
        headers: {
          Origin,
          'Access-Control-Request-Method': 'POST',
          'Access-Control-Request-Headers': 'authorization',
        },
      })
    const allowed = await ask(app)
    expect(allowed.status).toBe(204)
    expect(allowed.headers.get('access-control-allow-origin')).toBe(app)
    expect(allowed.headers.get('access-control-allow-headers')).toBe('authorization')
    expect(allowed.headers.get('access-control-allow-credentials')).toBeNull()
    const other = await ask('https://other.example.com')
    expect(other.status).toBe(405)
    expect(other.headers.get('access-control-allow-origin')).toBeNull()
  })
})

describe('where no keys are needed', () => {
  const send = (url: string, headers: Record<string, string>, method = 'POST') =>
    fetch(`${url}/async-function/test`, { method, headers })

  test.each<[string, Record<string, string>]>([
    ['another origin', { Origin: app }],
    ['another port of this machine', { Origin: 'http://127.0.0.1:1' }],
    ['no origin that can be told', { Origin: 'null' }],
    ['another site', { 'Sec-Fetch-Site': 'cross-site' }],
  ])('a page of %s can send nothing', async (_, headers) => {
    const { url } = await serve()
    const problem = await problemOf(await send(url, headers))
    expect(problem).toMatchObject({ status: 403, code: 'origin_refused' })
    expect(problem.detail).toContain('ONESHOT_CORS_ORIGINS')
  })

  test('pages of its own origin and of allowed ones can, and so can other clients', async () => {
    const { url } = await serve({}, { corsOrigins: [app] })
    const { host } = new URL(url)
    for (const headers of [
      {},
      { Origin: `http://${host}`, 'Sec-Fetch-Site': 'same-origin' },
      { Origin: app, 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'none' },
    ]) {
      expect((await send(url, headers as Record<string, string>)).status).toBe(202)
    }
  })

  test.each([
    'evil.example',
    'evil.example:80',
    '192.0.2.1',
    'localhost.evil.example',
    '127.0.0.1.nip.io',
  ])('a name that leads here, %s, is none of ours', async (host) => {
    const { url } = await serve()
    expect(await tell(url, 'GET /functions HTTP/1.1', `Host: ${host}`)).toMatch(
      /403.*origin_refused/s,
    )
  })

  test.each(['localhost', 'localhost:1', '127.0.0.1', '[::1]:8080', 'my.localhost'])(
    'the name %s is ours',
    async (host) => {
      const { url } = await serve()
      expect(await tell(url, 'GET /functions HTTP/1.1', `Host: ${host}`)).toMatch(/^HTTP\/1.1 200/)
    },
  )

  test('a webhook takes what a tunnel brings under its own name, and nothing else does', async () => {
    const { url } = await serve()
    const ask = (path: string) =>
      tell(url, `POST ${path} HTTP/1.1`, 'Host: tunnel.example', `Origin: ${app}`)
    expect(await ask('/hook/none')).toMatch(/404.*hook_not_found/s)
    for (const path of [
      '/hook',
      '/hooks/none/dry-run',
      '//hook/none',
      '/Hook/none',
      '/function/test',
    ]) {
      expect(await ask(path)).toMatch(/403.*origin_refused/s)
    }
    // Whatever is made of them, they don't lead elsewhere from there.
    for (const way of ['/..', '/%2e%2e', '/%2E.', '\\..', '%2f..', '/.%09.', '/;/..']) {
      for (const path of [
        `/hook${way}/function/test`,
        `/hook/none${way}${way}/async-function/test`,
      ]) {
        expect([path, await ask(path)]).toEqual([
          path,
          expect.stringMatching(/^HTTP\/1.1 40[0345] /),
        ])
      }
    }
  })

  test('names are any where it listens elsewhere, and where keys are needed', async () => {
    const open = await serve({}, { host: '0.0.0.0' })
    expect(await tell(open.url, 'GET /functions HTTP/1.1', 'Host: gateway')).toMatch(
      /^HTTP\/1.1 200/,
    )
    const { authenticator } = await startAccess({})
    const { url } = await serve({}, { authenticator })
    expect(await tell(url, 'GET /healthz HTTP/1.1', 'Host: gateway')).toMatch(/^HTTP\/1.1 200/)
  })
})

describe('the head of a request', () => {
  test('may have 100 headers, and not more', async () => {
    const { url } = await serve()
    const headers = (count: number) => Array.from({ length: count }, (_, each) => `X-${each}: a`)
    const ask = (count: number) =>
      tell(url, 'GET /healthz HTTP/1.1', 'Host: localhost', ...headers(count))
    expect(await ask(98)).toMatch(/^HTTP\/1.1 200/)
    expect(await ask(99)).toMatch(/400.*bad_request.*at most 100 headers/s)
    expect(await ask(3000)).toMatch(/^HTTP\/1.1 4/)
  })

  test('may be 16 KiB long, and not more', async () => {
    const { url } = await serve()
    const long = `X-Long: ${'a'.repeat(17 * 1024)}`
    expect(await tell(url, 'GET /healthz HTTP/1.1', 'Host: localhost', long)).toMatch(
      /^HTTP\/1.1 431/,
    )
  })

  test('may name the call as X-Request-Id too, if it has no X-Call-Id', async () => {
    const { url } = await serve()
    const ask = async (headers: Record<string, string>) =>
      (await fetch(`${url}/healthz`, { headers })).headers.get('x-call-id')
    expect(await ask({ 'X-Request-Id': 'mine' })).toBe('mine')
    expect(await ask({ 'X-Request-Id': 'mine', 'X-Call-Id': 'other' })).toBe('other')
    expect(await ask({ 'X-Request-Id': 'a b' })).not.toBe('a b')
  })
})
