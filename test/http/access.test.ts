import { readFileSync } from 'node:fs'
import { OpenAPIHono } from '@hono/zod-openapi'
import { describe, expect, test, vi } from 'vitest'
import type { Right } from '../../src/http/access.ts'
import { ACCESS } from '../../src/http/access.ts'
import type { Env } from '../../src/http/app.ts'
import { checkGuards } from '../../src/http/guard.ts'
import { refuseOtherMethods } from '../../src/http/methods.ts'
import { makeKey } from '../../src/access/key.ts'
import { forgeTokens, startAccess } from '../access/credentials.ts'
import { functionSpec } from '../function-spec.ts'
import type { StartedTask } from '../gateway/fake-engine.ts'
import { accept, exited, problemOf } from './asynchronous.ts'
import { openFunctions } from './open-functions.ts'
import { send, serve } from './serve.ts'

type Status = 401 | 403 | 'let in'

/** What comes of each kind of credentials; docs/access.md prints it. */
const EXPECTED: Readonly<
  Record<Right, { readonly none: Status; readonly invalid: Status; readonly lacking: Status }>
> = {
  open: { none: 'let in', invalid: 'let in', lacking: 'let in' },
  signed: { none: 'let in', invalid: 'let in', lacking: 'let in' },
  read: { none: 401, invalid: 401, lacking: 403 },
  functions: { none: 401, invalid: 401, lacking: 403 },
  deploy: { none: 401, invalid: 401, lacking: 403 },
  admin: { none: 401, invalid: 401, lacking: 403 },
  invoke: { none: 401, invalid: 401, lacking: 403 },
  invocation: { none: 401, invalid: 401, lacking: 403 },
  'invocation-change': { none: 401, invalid: 401, lacking: 403 },
}

/** As docs/access.md says what a route needs. */
const NEEDS: Readonly<Record<Right, string>> = {
  open: 'nothing',
  signed: "the webhook's own signature",
  read: '`read`',
  functions: '`read` or `deploy`',
  deploy: '`deploy`',
  admin: '`admin`',
  invoke: '`invoke:` of the function, unless it is `public`',
  invocation: '`read`, or `invoke:` of its function',
  'invocation-change': '`invoke:` of its function',
}

/** All scopes but those that would do, and each that does. */
const SCOPES: Readonly<Record<Right, { lacking: string[]; granted: string[][] }>> = {
  open: { lacking: ['invoke:other'], granted: [['read']] },
  signed: { lacking: ['invoke:other'], granted: [['read']] },
  read: { lacking: ['deploy', 'invoke:*'], granted: [['read']] },
  functions: { lacking: ['invoke:*'], granted: [['read'], ['deploy']] },
  deploy: { lacking: ['read', 'invoke:*'], granted: [['deploy']] },
  admin: { lacking: ['read', 'deploy', 'invoke:*'], granted: [['admin']] },
  invoke: {
    lacking: ['read', 'deploy', 'invoke:tes', 'invoke:other*'],
    granted: [['invoke:*'], ['invoke:te*'], ['invoke:test']],
  },
  invocation: {
    lacking: ['deploy', 'invoke:tes', 'invoke:other*'],
    granted: [['read'], ['invoke:*'], ['invoke:test']],
  },
  'invocation-change': {
    lacking: ['read', 'deploy', 'invoke:tes', 'invoke:other*'],
    granted: [['invoke:*'], ['invoke:te*'], ['invoke:test']],
  },
}

const page = readFileSync(new URL('../../docs/access.md', import.meta.url), 'utf8')

async function serveClosed(right: Right, isPublic = false) {
  const { lacking, granted } = SCOPES[right]
  const all = Object.fromEntries([
    ['lacking', lacking],
    ['admin', ['admin']],
    ...granted.map((scopes, index) => [`granted-${index}`, scopes] as const),
  ])
  const access = await startAccess(all)
  const { authenticator } = access
  const functions = await openFunctions({ 'test.yml': `image: i\npublic: ${isPublic}` })
  const served = await serve({}, { authenticator, functions })
  void endAll(served.next)
  const id = await accept(served, { Authorization: access.bearer('admin') })
  const ask = (route: string, authorization?: string) => {
    const [method = '', path = ''] = route.split(' ')
    const target = path.replace('{id}', id).replace('{name}', 'test')
    return fetch(`${served.url}${target}`, {
      method,
      headers: {
        Prefer: 'respond-async',
        ...(authorization !== undefined && { Authorization: authorization }),
      },
    })
  }
  return { ...served, access, ask, id }
}

/** Whatever runs has ended. */
async function endAll(next: () => Promise<StartedTask>): Promise<never> {
  for (;;) (await next()).end(exited(0))
}

async function checkStatus(answer: Response, expected: Status, credentials: string) {
  const found = [credentials, answer.status === 401 || answer.status === 403 ? answer.status : 0]
  expect(found).toEqual([credentials, expected === 'let in' ? 0 : expected])
  expect([credentials, answer.status >= 500 || answer.status === 429]).toEqual([credentials, false])
  if (expected === 'let in') return
  const challenge = answer.headers.get('www-authenticate')
  const { code } = await problemOf(answer)
  expect(code).toBe(expected === 401 ? 'unauthorized' : 'forbidden')
  expect(challenge).toMatch(/^Bearer realm="oneshot"/)
  expect(challenge?.includes('insufficient_scope')).toBe(expected === 403)
  expect(challenge?.includes('invalid_token')).toBe(expected === 401 && credentials !== 'none')
}

describe.each(Object.entries(ACCESS))('%s', (route, { right }) => {
  const expected = EXPECTED[right]

  test('takes no one who has not shown a valid key or token, unless it takes everyone', async () => {
    expect.hasAssertions()
    const { access, ask } = await serveClosed(right)
    await checkStatus(await ask(route), expected.none, 'none')
    const wrong = {
      'wrong key': makeKey(),
      'half a key': access.keyOf('admin').slice(0, -1),
      'expired key': access.expired,
      ...(await forgeTokens(access.issuer)),
    }
    for (const [name, credentials] of Object.entries(wrong)) {
      await checkStatus(await ask(route, `Bearer ${credentials}`), expected.invalid, name)
    }
  })

  test('takes a key and a token with its scope, and none without', async () => {
    expect.hasAssertions()
    const { access, ask } = await serveClosed(right)
    const { claims, sign } = access.issuer
    const token = async (scopes: readonly string[]) =>
      `Bearer ${await sign(claims(scopes.join(' ')))}`
    const { lacking, granted } = SCOPES[right]
    await checkStatus(await ask(route, access.bearer('lacking')), expected.lacking, 'key')
    await checkStatus(await ask(route, await token(lacking)), expected.lacking, 'token')
    for (const [index, scopes] of granted.entries()) {
      const key = access.bearer(`granted-${index}`)
      await checkStatus(await ask(route, key), 'let in', `key ${scopes.join()}`)
      await checkStatus(await ask(route, await token(scopes)), 'let in', `token ${scopes.join()}`)
    }
    await checkStatus(await ask(route, access.bearer('admin')), 'let in', 'admin')
  })
})

describe('docs/access.md', () => {
  test('says of every route what it needs, and what is logged of it', () => {
    const rows = page.matchAll(/^\| `([A-Z]+ \/\S*)` \| (.*?) \| (.*?) \|$/gm)
    const documented = Array.from(rows, ([, route, needs, audit]) => [route, needs, audit])
    expect(documented).toEqual(
      Object.entries(ACCESS).map(([route, { right, audit }]) => [
        route,
        NEEDS[right],
        audit === undefined ? '' : `\`${audit}\``,
      ]),
    )
  })

  test('says what comes of each kind of credentials', () => {
    const [, table = ''] = page.split('\n| needs | no credentials |')
    const rows = table.split('\n\n')[0]!.matchAll(/^\| (.*?) \| (.*?) \| (.*?) \| (.*?) \|/gm)
    const documented = Array.from(rows, ([, ...cells]) => cells).filter(
      ([needs]) => !needs!.startsWith('-'),
    )
    expect(documented).toEqual(
      Object.entries(EXPECTED).map(([right, { none, invalid, lacking }]) => [
        NEEDS[right as Right],
        String(none),
        String(invalid),
        String(lacking),
      ]),
    )
  })
})

describe('a public function', () => {
  test('takes calls of anyone, and whoever shows a wrong key is told so', async () => {
    const { access, ask } = await serveClosed('invoke', true)
    for (const route of ['POST /function/{name}', 'POST /async-function/{name}']) {
      expect((await ask(route)).status).toBe(202)
      expect((await ask(route, access.bearer('lacking'))).status).toBe(202)
      expect((await ask(route, `Bearer ${makeKey()}`)).status).toBe(401)
    }
  })

  test('does not let anonymous callers see its calls, have callbacks sent, or read its definition', async () => {
    const { ask, url } = await serveClosed('invoke', true)
    for (const path of ['', '/result', '/logs']) {
      expect((await ask(`GET /invocations/{id}${path}`)).status).toBe(401)
    }
    expect((await ask('POST /invocations/{id}/cancel')).status).toBe(401)
    expect((await ask('GET /functions/{name}')).status).toBe(401)
    const headers = { 'X-Callback-Url': 'https://example.com/' }
    const answer = await fetch(`${url}/async-function/test`, { method: 'POST', headers })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="oneshot"')
    expect(await problemOf(answer)).toMatchObject({
      status: 401,
      detail: expect.stringContaining('callback') as string,
    })
  })

  test('leaves the others closed', async () => {
    const { authenticator } = await startAccess({})
    const specs = [functionSpec({ name: 'closed' })]
    const { url } = await serve({ isPublic: true }, { authenticator, specs })
    const call = async (name: string) =>
      (await fetch(`${url}/async-function/${name}`, { method: 'POST' })).status
    expect(await call('test')).toBe(202)
    expect(await call('closed')).toBe(401)
    expect(await call('missing')).toBe(401)
  })
})

test('a call by its id is refused alike whether there is one or not', async () => {
  const { access, ask, url, id } = await serveClosed('invocation')
  const headers = { Authorization: access.bearer('lacking') }
  for (const path of ['', '/result', '/logs']) {
    const there = await ask(`GET /invocations/{id}${path}`, headers.Authorization)
    const missing = await fetch(`${url}/invocations/none${path}`, { headers })
    const [one, other] = [await problemOf(there), await problemOf(missing)]
    expect(one).toEqual(other)
    expect(there.headers.get('www-authenticate')).toBe(missing.headers.get('www-authenticate'))
    expect(JSON.stringify(one)).not.toContain(id)
  }
})

test('a name cannot be written so that it is allowed as one and called as another', async () => {
  const { access, url } = await serveClosed('invoke')
  const headers = { Authorization: access.bearer('lacking'), Prefer: 'respond-async' }
  for (const name of ['%74est', 'other/../test', 'te%2573t', 'tes%00t', 'test%20', '%%']) {
    const answer = await fetch(`${url}/function/${name}`, { method: 'POST', headers })
    expect([name, answer.status]).toEqual([name, 403])
  }
  // Its scope is for names that begin so; there is none of this name.
  for (const name of ['other%2F..%2Ftest', 'other%00test']) {
    const answer = await fetch(`${url}/function/${name}`, { method: 'POST', headers })
    expect([name, answer.status]).toEqual([name, 404])
  }
})

test('who asks for what is not there is told so, whoever he is', async () => {
  const { url } = await serveClosed('read')
  expect((await fetch(`${url}/nothing`)).status).toBe(404)
  expect((await fetch(`${url}/function/test`)).status).toBe(405)
})

test('a HEAD needs what a GET does', async () => {
  const { access, url } = await serveClosed('read')
  const ask = (headers: Record<string, string>) =>
    fetch(`${url}/invocations`, { method: 'HEAD', headers })
  expect((await ask({})).status).toBe(401)
  expect((await ask({ Authorization: access.bearer('granted-0') })).status).toBe(200)
})

test('only who may read is told of the engine; the rest learns that it is ready', async () => {
  const { access, ask } = await serveClosed('read')
  for (const authorization of [undefined, `Bearer ${makeKey()}`, access.bearer('lacking')]) {
    expect(await (await ask('GET /readyz', authorization)).json()).toEqual({ status: 'ready' })
  }
  const answer = await ask('GET /readyz', access.bearer('granted-0'))
  expect(await answer.json()).toHaveProperty('engine.name', 'fake')
})

test('however many ask at once whether it is ready, the engine is asked once', async () => {
  const { ask, engine } = await serveClosed('read')
  const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof engine.ping>>>()
  const info = await engine.ping()
  const ping = vi.spyOn(engine, 'ping').mockReturnValue(promise)
  const asking = Array.from({ length: 10 }, () => ask('GET /readyz'))
  await expect.poll(() => ping.mock.calls.length).toBeGreaterThan(0)
  for (const _ of asking) await ask('GET /healthz')
  resolve(info)
  expect((await Promise.all(asking)).map(({ status }) => status)).toEqual(Array(10).fill(200))
  expect(ping).toHaveBeenCalledTimes(1)
  await ask('GET /readyz')
  expect(ping).toHaveBeenCalledTimes(2)
})

test('of two keys none is taken, whichever comes first', async () => {
  const { access, url } = await serveClosed('read')
  const ask = (...names: string[]) =>
    send(`${url}/nodes`, { Authorization: names.map((name) => access.bearer(name)) }, 'GET')
  for (const names of [
    ['admin', 'lacking'],
    ['lacking', 'admin'],
    ['admin', 'admin'],
  ]) {
    const sent = ask(...names)
    sent.end()
    const { statusCode, headers } = await sent.response
    expect(statusCode).toBe(401)
    expect(headers['www-authenticate']).toContain('invalid_token')
  }
  const sent = ask('admin')
  sent.end()
  expect((await sent.response).statusCode).toBe(200)
})

test('the name of the caller is on record, and a replay has the name of who replayed', async () => {
  const { access, ask, id } = await serveClosed('invocation-change')
  const headers = access.bearer('admin')
  const shown = async (which: string) =>
    (await (await ask(`GET /invocations/${which}?wait=5`, headers)).json()) as { caller?: string }
  expect((await shown(id)).caller).toBe('admin')
  const replay = await ask('POST /invocations/{id}/replay', access.bearer('granted-0'))
  const { id: replayed } = (await replay.json()) as { id: string }
  expect((await shown(replayed)).caller).toBe('granted-0')
})

test('an Idempotency-Key of one caller does not lead another to his call', async () => {
  const { access, url } = await serveClosed('invoke')
  const call = async (name: string) => {
    const headers = { Authorization: access.bearer(name), 'Idempotency-Key': '"same"' }
    const answer = await fetch(`${url}/async-function/test`, { method: 'POST', headers })
    return ((await answer.json()) as { id: string }).id
  }
  const first = await call('granted-0')
  expect(await call('granted-0')).toBe(first)
  expect(await call('granted-1')).not.toBe(first)
})

describe('a route that the table does not know', () => {
  const app = () => new OpenAPIHono<Env>()

  test.each([
    ['a GET', () => app().get('/secret', (c) => c.text(''))],
    ['a POST', () => app().post('/functions', (c) => c.text(''))],
    ['one for every method', () => app().all('/secret', (c) => c.text(''))],
  ])('keeps the gateway from starting: %s', (_, create) => {
    expect(() => checkGuards(create() as OpenAPIHono<Env>)).toThrow(/has no entry of/)
  })

  test('is none if it only refuses', () => {
    const refusing = app()
    refuseOtherMethods(refusing, '/secret', 'GET')
    expect(() => checkGuards(refusing)).not.toThrow()
  })
})

describe('the log', () => {
  test('says who has changed what, and who was not let', async () => {
    const { access, ask, id, logs } = await serveClosed('invocation-change')
    await ask('POST /invocations/{id}/cancel', access.bearer('lacking'))
    await ask('POST /invocations/{id}/cancel')
    await ask('POST /invocations/{id}/cancel', `Bearer ${makeKey()}`)
    await ask('POST /invocations/{id}/cancel', access.bearer('granted-0'))
    const told = logs.filter(({ audit }) => audit !== undefined)
    const about = { audit: 'invocation.cancel', target: { id }, address: '127.0.0.1' }
    expect(told).toMatchObject([
      {
        ...about,
        msg: 'change denied',
        caller: { kind: 'key', name: 'lacking' },
        lack: 'invoke:*',
      },
      { ...about, msg: 'change denied', caller: { kind: 'anonymous' } },
      { ...about, msg: 'change denied', reason: 'key_unknown' },
      { ...about, msg: 'changed', caller: { kind: 'key', name: 'granted-0' }, status: 200 },
    ])
    expect(told.every(({ callId }) => typeof callId === 'string')).toBe(true)
  })

  test('says who has deployed and deleted', async () => {
    const { access, url, logs } = await serveClosed('deploy')
    const headers = { Authorization: access.bearer('granted-0') }
    const ask = async (method: string, body?: string) =>
      (await fetch(`${url}/functions/mine`, { method, headers, body: body ?? null })).status
    expect(await ask('PUT', 'image: [')).toBe(422)
    expect(await ask('PUT', 'image: i')).toBe(201)
    expect(await ask('DELETE')).toBe(204)
    expect(await ask('DELETE')).toBe(404)
    const about = { target: { name: 'mine' }, caller: { kind: 'key', name: 'granted-0' } }
    expect(logs.filter(({ audit }) => audit !== undefined)).toMatchObject([
      { ...about, audit: 'function.deploy', status: 201, msg: 'changed' },
      { ...about, audit: 'function.delete', status: 204, msg: 'changed' },
    ])
  })

  test('does not say of a client that goes away with half a definition that it has deployed it', async () => {
    const { access, url, logs } = await serveClosed('deploy')
    const headers = {
      Authorization: access.bearer('granted-0'),
      'Content-Length': 100,
      Expect: '100-continue',
    }
    const { continued, write, abort, response } = send(`${url}/functions/mine`, headers, 'PUT')
    await continued
    write('image: i')
    abort()
    await expect(response).rejects.toThrow('socket hang up')
    await expect.poll(() => logs.map(({ msg }) => msg)).toContain('the client went away')
    // One more line than that would have been written by then.
    await fetch(`${url}/healthz`)
    expect(logs.filter(({ audit }) => audit !== undefined)).toEqual([])
  })

  test('tells no more of a name than can be read', async () => {
    const { url, logs } = await serveClosed('deploy')
    await fetch(`${url}/functions/${'a'.repeat(10_000)}`, { method: 'DELETE' })
    expect(logs.filter(({ audit }) => audit !== undefined)).toHaveLength(1)
    expect(JSON.stringify(logs).length).toBeLessThan(5_000)
  })

  test('has why credentials were refused, which the answer does not tell', async () => {
    const { access, ask, logs } = await serveClosed('read')
    const tokens = await forgeTokens(access.issuer)
    const reasons = {
      'expired token': 'token_expired',
      'alg none': 'algorithm_not_allowed',
      'public key as secret': 'algorithm_not_allowed',
      'wrong typ': 'type_wrong',
      'wrong issuer': 'issuer_wrong',
      'wrong audience': 'audience_wrong',
      'not yet valid': 'token_not_yet_valid',
      'no expiry': 'expiry_missing',
      'unknown kid': 'key_id_unknown',
      'wrong signature': 'signature_wrong',
    } as const
    const bodies = new Set<string>()
    for (const name of Object.keys(reasons) as (keyof typeof reasons)[]) {
      bodies.add(await (await ask('GET /nodes', `Bearer ${tokens[name]}`)).text())
    }
    bodies.add(await (await ask('GET /nodes', `Bearer ${access.expired}`)).text())
    const found = logs.flatMap(({ reason }) => reason ?? [])
    expect(found).toEqual([...Object.values(reasons), 'key_expired'])
    expect(bodies.size).toBe(1)
  })

  test('never holds a key or a token, used rightly or wrongly', async () => {
    const { access, ask, logs, url } = await serveClosed('read')
    const { claims, sign } = access.issuer
    const shown = [
      access.keyOf('admin'),
      access.expired,
      await sign(claims('read')),
      await sign(claims('none')),
      makeKey(),
    ]
    for (const credentials of shown) {
      await ask('GET /nodes', `Bearer ${credentials}`)
      await ask('POST /invocations/{id}/cancel', `Bearer ${credentials}`)
      await ask('POST /invocations/{id}/cancel', `Basic ${credentials}`)
      await fetch(`${url}/function/test?x=1`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${credentials}` },
      })
    }
    const text = JSON.stringify(logs)
    expect(logs.length).toBeGreaterThan(10)
    for (const credentials of shown) {
      expect(text).not.toContain(credentials)
      expect(text).not.toContain(credentials.split('.').at(-1))
    }
  })
})
