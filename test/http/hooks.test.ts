import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import type { OutgoingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { describe, expect, test, vi } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import type { FunctionSpec } from '../../src/core/function.ts'
import type { WebhookTrigger } from '../../src/core/trigger.ts'
import { githubHeaders, push, SECRET, sign, webhook } from '../gateway/webhook.ts'
import { exited, getJson } from './asynchronous.ts'
import { post, send, serve } from './serve.ts'

type ServeOptions = Parameters<typeof serve>[1]

async function serveHook(
  trigger: Partial<WebhookTrigger> = {},
  spec: Partial<FunctionSpec> = {},
  options: ServeOptions = {},
) {
  const served = await serve({ triggers: [webhook(trigger)], ...spec }, options)
  const hook = `${served.url}/hook/deploy`
  const answers: string[] = []
  /** As GitHub would send it. */
  const deliver = async (
    body: string | Uint8Array = push(),
    headers: Readonly<Record<string, string>> = {},
    path = hook,
  ) => {
    const answer = await post(path, body, githubHeaders(body, headers))
    const told = String(await answer.body())
    answers.push(JSON.stringify(answer.headers), told)
    const json = told.startsWith('{') ? (JSON.parse(told) as Record<string, unknown>) : {}
    return { status: answer.status, headers: answer.headers, text: told, json }
  }
  return { ...served, hook, deliver, answers }
}

/** A request as it stands. */
async function raw(url: string, head: readonly string[], body = ''): Promise<string> {
  const { hostname, port, pathname } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const host = `Host: ${hostname}:${port}`
  const lines = [`POST ${pathname} HTTP/1.1`, host, 'Connection: close', ...head]
  socket.write(`${lines.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
  return text(socket)
}

describe('POST /hook/NAME', () => {
  test('answers what is accepted 202, and names its invocation', async () => {
    const { deliver, next, url } = await serveHook()
    const { status, headers, json } = await deliver()
    expect(status).toBe(202)
    const id = headers['x-oneshot-invocation-id']
    expect(json).toEqual({
      id,
      function: 'test',
      state: expect.stringMatching(/queued|running/) as string,
      delivery: headers['x-oneshot-delivery-id'],
    })
    expect(headers.location).toBe(`/invocations/${String(id)}`)
    ;(await next()).end(exited(0))
    const status2 = await getJson(`${url}/invocations/${String(id)}?wait=9`)
    expect(status2).toMatchObject({
      state: 'succeeded',
      trigger: { type: 'webhook', name: 'deploy' },
      labels: ['hook:deploy'],
    })
  })

  test('answers a duplicate 200, with the first invocation', async () => {
    const { deliver } = await serveHook()
    const same = { 'x-github-delivery': 'guid' }
    const first = await deliver(push(), same)
    const { status, headers, json } = await deliver(push(), same)
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'x-oneshot-duplicate': 'true',
      'x-oneshot-invocation-id': first.json['id'],
      location: first.headers.location,
    })
    expect(json).toMatchObject({ verdict: 'duplicate', id: first.json['id'] })
    expect(first.headers).not.toHaveProperty('x-oneshot-duplicate')
  })

  test('answers what is skipped, dropped or a ping 200', async () => {
    const { deliver } = await serveHook({
      events: ['push'],
      concurrency: { max: 1, policy: 'drop' },
    })
    const skipped = await deliver(push(), { 'x-github-event': 'issues' })
    expect([skipped.status, skipped.json['verdict']]).toEqual([200, 'skipped'])
    await deliver()
    const dropped = await deliver()
    expect([dropped.status, dropped.json['verdict']]).toEqual([200, 'dropped'])
    const ping = await deliver('{}', { 'x-github-event': 'ping' })
    expect([ping.status, ping.json]).toEqual([200, { pong: true }])
  })

  test('answers what the function does not take 422, with the reasons', async () => {
    const { deliver, url } = await serveHook(
      {
        input: { body: 'none', parameters: { ref: { path: [{ name: 'ref' }] } }, environment: {} },
      },
      { parameters: { ref: { type: 'string', required: true } } },
    )
    const { status, json } = await deliver('{}')
    expect(status).toBe(422)
    expect(json).toMatchObject({ code: 'parameters_invalid', errors: [{ pointer: '#/ref' }] })
    const { deliveries } = await getJson(`${url}/hooks/deploy/deliveries`)
    expect(deliveries).toMatchObject([{ verdict: 'invalid' }])
  })

  test("answers Slack's challenge with its text", async () => {
    const { hook } = await serveHook({ scheme: { provider: 'slack' } })
    const body = JSON.stringify({ type: 'url_verification', challenge: '3eZbrw1aBm2r' })
    const time = String(Math.floor(Date.now() / 1000))
    const mac = createHmac('sha256', SECRET).update(`v0:${time}:${body}`).digest('hex')
    const answer = await post(hook, body, {
      'Content-Type': 'application/json',
      'X-Slack-Request-Timestamp': time,
      'X-Slack-Signature': `v0=${mac}`,
    })
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toMatch(/^text\/plain/)
    expect(String(await answer.body())).toBe('3eZbrw1aBm2r')
  })

  const body = push()
  test.each([
    ['no signature', { 'x-hub-signature-256': '' }],
    ['a wrong signature', { 'x-hub-signature-256': sign(body, 'other') }],
    ['one of another body', { 'x-hub-signature-256': sign(`${body} `) }],
    ['one of SHA-1', { 'x-hub-signature-256': '', 'x-hub-signature': 'sha1=00' }],
  ])('refuses %s with one and the same answer, and tells the log why', async (_, headers) => {
    const { deliver, logs, url, store } = await serveHook()
    const { status, json, headers: told } = await deliver(body, headers)
    expect(status).toBe(401)
    expect(json).toEqual({
      type: 'about:blank',
      title: 'Unauthorized',
      status: 401,
      code: 'signature_invalid',
      detail: expect.stringMatching(/^This delivery is not signed/) as string,
    })
    expect(told).not.toHaveProperty('www-authenticate')
    expect(logs).toContainEqual(
      expect.objectContaining({
        msg: 'delivery refused',
        hook: 'deploy',
        reason: expect.stringMatching(/^(signature|algorithm)_/) as string,
        address: '127.0.0.1',
        callId: told['x-call-id'],
      }),
    )
    const { deliveries, refused } = await getJson(`${url}/hooks/deploy/deliveries`)
    expect(deliveries).toEqual([])
    expect(refused).toMatchObject([{ verdict: 'refused', callId: told['x-call-id'] }])
    expect(await store.hooks.list('deploy', { limit: 9 })).toEqual([])
  })

  test('never tells the right signature, whether a delivery is refused or not', async () => {
    const { deliver, answers, logs, url, hook } = await serveHook()
    const bodies = [push(), '{}', 'not json', Buffer.from([0xff, 0, 0x80]), '']
    for (const each of bodies) {
      await deliver(each)
      await deliver(each, { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` })
      await deliver(each, { 'x-hub-signature-256': '' })
      await deliver(each, {}, `${url}/hooks/deploy/dry-run`)
      await deliver(each, { 'x-hub-signature-256': '' }, `${url}/hooks/deploy/dry-run`)
    }
    for (const path of ['/hooks', '/hooks/deploy/deliveries', '/invocations']) {
      answers.push(JSON.stringify(await getJson(`${url}${path}`)))
    }
    const { deliveries } = await getJson(`${url}/hooks/deploy/deliveries`)
    for (const { id } of deliveries as { id: string }[]) {
      answers.push(JSON.stringify(await getJson(`${url}/hooks/deploy/deliveries/${id}`)))
    }
    expect((await deliver(push(), {}, `${hook}x`)).status).toBe(404)
    const told = [...answers, ...logs.map((each) => JSON.stringify(each))].join('\n')
    expect(told.length).toBeGreaterThan(10_000)
    for (const each of bodies) {
      const mac = createHmac('sha256', SECRET).update(each).digest()
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        expect(told.toLowerCase()).not.toContain(mac.toString(encoding).toLowerCase())
      }
    }
    expect(told).not.toContain(SECRET)
  })

  test('refuses a doubled signature, also if both are right', async () => {
    const { hook } = await serveHook()
    const right = `X-Hub-Signature-256: ${sign(body)}`
    const head = ['X-GitHub-Event: push', 'X-GitHub-Delivery: 1', right]
    expect(await raw(hook, head, body)).toMatch(/^HTTP\/1.1 202 /)
    for (const doubled of [
      [...head, right],
      [...head, 'x-hub-signature-256: sha256=00'],
      ['X-Hub-Signature-256:', ...head],
    ]) {
      expect(await raw(hook, doubled, body)).toMatch(/^HTTP\/1.1 401 /)
    }
  })

  test('refuses a doubled token, of which Node would show the first alone', async () => {
    const { hook } = await serveHook({ scheme: { provider: 'token', header: 'authorization' } })
    const right = `Authorization: Bearer ${SECRET}`
    expect(await raw(hook, [right], body)).toMatch(/^HTTP\/1.1 202 /)
    for (const other of [right, 'Authorization: Bearer other']) {
      expect(await raw(hook, [right, other], body)).toMatch(/^HTTP\/1.1 401 /)
    }
  })

  test('takes bodies of any bytes as they are', async () => {
    const { deliver, next } = await serveHook()
    for (const bytes of [Buffer.from([0xff, 0xfe, 0, 1]), Buffer.from('{"ref": "Größe ☃"}')]) {
      expect((await deliver(bytes)).status).toBe(202)
      const { io, end } = await next()
      expect(Buffer.concat(await Array.fromAsync(io.stdin!))).toEqual(bytes)
      end(exited(0))
    }
  })

  test.each([
    ['25 MiB', {}, 25 * 1024 ** 2 + 1],
    ['what the function allows', { inputBytes: 100 }, 101],
  ])('refuses a body above %s, before it has come', async (_, limits, length) => {
    const all = { inputBytes: 1024 ** 3, outputBytes: 1024, logBytes: 1024, ...limits }
    const { hook } = await serveHook({}, { limits: all })
    const announced = send(hook, { 'Content-Length': length, Expect: '100-continue' })
    expect((await announced.response).statusCode).toBe(413)
    const chunked = send(hook, { 'Transfer-Encoding': 'chunked' })
    for (let sent = 0; sent < length; sent += 1024 ** 2) {
      chunked.write(Buffer.alloc(Math.min(1024 ** 2, length - sent)))
    }
    expect((await chunked.response).statusCode).toBe(413)
  })

  test('refuses a body that has not come after 10 s', async () => {
    let now = Date.now()
    const { hook } = await serveHook({}, {}, { clock: () => (now += 9_900) })
    const slow = send(hook, { 'Content-Length': 10 })
    slow.write('{')
    const { statusCode, headers } = await slow.response
    expect([statusCode, headers.connection]).toEqual([408, 'close'])
  })

  test('refuses what is compressed', async () => {
    const { deliver } = await serveHook()
    const { status, json } = await deliver(gzipSync(push()), { 'content-encoding': 'gzip' })
    expect([status, json['code']]).toEqual([415, 'unsupported_media_type'])
    expect((await deliver(push(), { 'content-encoding': 'identity' })).status).toBe(202)
  })

  test('answers 404 for a webhook that there is not, 405 for other methods', async () => {
    const { url, hook } = await serveHook()
    for (const name of ['nope', '%00', '%ff', 'a%2Fb', '__proto__']) {
      expect((await post(`${url}/hook/${name}`, '{}')).status).toBe(404)
    }
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
      const answer = await fetch(hook, { method })
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
    }
  })

  test('tells the sender to try again when there is no room, or the gateway ends', async () => {
    const { deliver, store, gateway } = await serveHook()
    const same = { 'x-github-delivery': 'guid' }
    const add = vi.spyOn(store.invocations, 'add')
    add.mockRejectedValueOnce(new OneshotError('storage_full', 'full'))
    expect((await deliver(push(), same)).status).toBe(507)
    expect((await deliver(push(), same)).status).toBe(202)
    await gateway.close(0)
    const { status, headers } = await deliver()
    expect([status, headers['retry-after']]).toEqual([503, '5'])
  })

  test('is counted by what became of it', async () => {
    const { deliver, url } = await serveHook({ events: ['push'] })
    await deliver()
    await deliver(push(), { 'x-github-event': 'issues' })
    await deliver(push(), { 'x-hub-signature-256': '' })
    await deliver(push(), { 'content-encoding': 'br' })
    await deliver(push(), {}, `${url}/hook/nope`)
    const metrics = await (await fetch(`${url}/metrics`)).text()
    const counted = metrics.match(/^oneshot_hook_deliveries_total\{.*$/gm)?.sort()
    expect(counted).toEqual(
      ['accepted', 'failed', 'refused', 'skipped'].map(
        (verdict) => `oneshot_hook_deliveries_total{hook="deploy",verdict="${verdict}"} 1`,
      ),
    )
  })
})

describe('a webhook in mode sync', () => {
  test('answers as a call would, in the form of the function', async () => {
    const { deliver, next } = await serveHook({ mode: 'sync' })
    const answer = deliver()
    const { io, end } = await next()
    await io.stdout(Buffer.from('done'))
    end(exited(3))
    const { status, json, headers } = await answer
    expect([status, json['exitCode'], json['stdout']]).toEqual([200, 3, 'done'])
    expect(headers['x-oneshot-delivery-id']).toBeTruthy()
    expect(headers['x-oneshot-invocation-id']).toBe(json['id'])
  })

  test('answers stdout as it is if the function does', async () => {
    const { deliver, next } = await serveHook({ mode: 'sync' }, { response: 'raw' })
    const answer = deliver()
    const { io, end } = await next()
    await io.stdout(Buffer.from('{"text": "hi"}'))
    end(exited(0))
    const { status, text: told } = await answer
    expect([status, told]).toEqual([200, '{"text": "hi"}'])
  })

  test("answers 202 when the provider's own limit is near, and runs on", async () => {
    let passedMs = 0
    const clock = () => Date.now() + passedMs
    const { deliver, next, url, store } = await serveHook({ mode: 'sync' }, {}, { clock })
    const { add } = store.invocations
    vi.spyOn(store.invocations, 'add').mockImplementation((...given) => {
      // Of GitHub's 10 s, 100 ms are left to wait.
      passedMs = 9_400
      return add(...given)
    })
    const { status, headers } = await deliver()
    expect(status).toBe(202)
    ;(await next()).end(exited(0))
    expect(await getJson(`${url}${headers.location!}?wait=9`)).toMatchObject({
      state: 'succeeded',
    })
  })
})

describe('a webhook for CloudEvents', () => {
  const token = 'Bearer a token of many letters'
  const trigger: Partial<WebhookTrigger> = {
    scheme: { provider: 'cloudevents', allowUnsigned: false },
    secrets: [{ value: 'a token of many letters' }],
  }
  const event = { specversion: '1.0', id: '1', source: '/s', type: 'a' }
  const sent = (headers: OutgoingHttpHeaders): OutgoingHttpHeaders => ({
    Authorization: token,
    ...headers,
  })

  test('takes each event of a batch on its own, and tells what became of it', async () => {
    const { hook } = await serveHook(trigger)
    const headers = sent({ 'Content-Type': 'application/cloudevents-batch+json' })
    const deliver = async (events: unknown) => {
      const { status, body } = await post(hook, JSON.stringify(events), headers)
      return { status, json: JSON.parse(String(await body())) as unknown }
    }
    const { status, json } = await deliver([event, { ...event, id: '2' }, event])
    expect(status).toBe(202)
    const [first] = (json as { deliveries: { id: string }[] }).deliveries
    expect(json).toMatchObject({
      deliveries: [
        { verdict: 'accepted' },
        { verdict: 'accepted' },
        { verdict: 'duplicate', id: first!.id },
      ],
    })
    expect((await deliver([event])).status).toBe(200)
    expect(await deliver([])).toEqual({ status: 200, json: { deliveries: [] } })
    expect((await deliver(Array.from({ length: 101 }, () => event))).status).toBe(400)
    expect((await deliver([{ ...event, id: '3' }, { id: '4' }])).status).toBe(400)
    expect((await deliver([{ ...event, id: '3' }])).status).toBe(202)
  })

  test('takes one in binary mode', async () => {
    const { hook, next } = await serveHook(trigger)
    const ce = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 'a.b' }
    const { status } = await post(hook, 'data', sent({ 'Content-Type': 'text/plain', ...ce }))
    expect(status).toBe(202)
    const { task, io } = await next()
    expect(task.container.environment).toMatchObject({ ONESHOT_EVENT: 'a.b' })
    expect(Buffer.concat(await Array.fromAsync(io.stdin!)).toString()).toBe('data')
  })

  test('says by OPTIONS that deliveries are wanted', async () => {
    const { hook, url } = await serveHook(trigger)
    const headers = { 'WebHook-Request-Origin': 'events.example.com' }
    const answer = await fetch(hook, { method: 'OPTIONS', headers })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('webhook-allowed-origin')).toBe('events.example.com')
    expect((await fetch(`${url}/hook/nope`, { method: 'OPTIONS' })).status).toBe(404)
  })
})

describe('GET /hooks', () => {
  test('tells of each webhook, but not its secrets', async () => {
    const secrets = [{ value: SECRET }, { value: 'former', notAfter: 0 }]
    const { url } = await serveHook({ events: ['push'], secrets })
    const told = await getJson(`${url}/hooks`)
    expect(told).toEqual({
      hooks: [
        {
          name: 'deploy',
          function: 'test',
          path: '/hook/deploy',
          provider: 'github',
          mode: 'async',
          events: ['push'],
          secrets: [{}, { notAfter: '1970-01-01T00:00:00.000Z' }],
          served: true,
          warnings: ['A secret is past its notAfter: take it away.'],
        },
      ],
    })
  })
})

describe('GET /hooks/NAME/deliveries', () => {
  test('has what came, newest first, in pages', async () => {
    const { url, deliver } = await serveHook()
    const ids: unknown[] = []
    for (let count = 0; count < 3; count += 1) ids.unshift((await deliver()).json['delivery'])
    const list = async (query: string) => {
      const page = await getJson(`${url}/hooks/deploy/deliveries?${query}`)
      return { ...page, ids: (page['deliveries'] as { id: string }[]).map(({ id }) => id) }
    }
    // The ids of the tests are random: their order is that of the store.
    const all = (await list('')).ids
    expect(new Set(all)).toEqual(new Set(ids))
    const first = (await list('limit=2')) as { ids: string[]; next?: string }
    expect(first.ids).toEqual(all.slice(0, 2))
    const second = await list(`limit=2&cursor=${first.next!}`)
    expect(second.ids).toEqual(all.slice(2))
    expect(second).not.toHaveProperty('next')
    expect(second).not.toHaveProperty('refused')
  })

  test('tells one with its headers and its body', async () => {
    const { url, deliver } = await serveHook()
    const about = async (body: string | Uint8Array) => {
      const { json } = await deliver(body, { authorization: 'Bearer x', 'x-other': 'shown' })
      return getJson(`${url}/hooks/deploy/deliveries/${String(json['delivery'])}`)
    }
    const body = push()
    const told = await about(body)
    expect(told).toMatchObject({
      verdict: 'accepted',
      event: 'push',
      bodyBytes: body.length,
      bodyKept: true,
      body: { encoding: 'utf8', data: body },
      headers: { 'x-other': 'shown' },
    })
    expect(Object.keys(told['headers'] as object)).not.toEqual(
      expect.arrayContaining(['authorization']),
    )
    expect(await about(Buffer.from([255, 0]))).toMatchObject({
      body: { encoding: 'base64', data: '/wA=' },
    })
    const long = await about('x'.repeat(64 * 1024 + 1))
    expect(long).toMatchObject({ bodyKept: true })
    expect(long).not.toHaveProperty('body')
  })

  test.each(['nope', '%00', '%ff', "'--"])('answers 404 for %s', async (id) => {
    const { url } = await serveHook()
    expect((await fetch(`${url}/hooks/deploy/deliveries/${id}`)).status).toBe(404)
    expect((await fetch(`${url}/hooks/${id}/deliveries`)).status).toBe(404)
    const again = `${url}/hooks/deploy/deliveries/${id}/redeliver`
    expect((await fetch(again, { method: 'POST' })).status).toBe(404)
  })
})

test('POST /hooks/NAME/deliveries/ID/redeliver makes an invocation once more', async () => {
  const { url, deliver, store } = await serveHook()
  const { json } = await deliver()
  const path = `${url}/hooks/deploy/deliveries/${String(json['delivery'])}/redeliver`
  const answer = await fetch(path, { method: 'POST' })
  expect(answer.status).toBe(202)
  const again = (await answer.json()) as { id: string; delivery: string }
  expect(answer.headers.get('location')).toBe(`/invocations/${again.id}`)
  expect(again.id).not.toBe(json['id'])
  expect(await getJson(`${url}/hooks/deploy/deliveries/${again.delivery}`)).toMatchObject({
    redeliveryOf: json['delivery'],
  })
  await store.hooks.trim({ maxBytes: 0, maxKeyless: 1000, maxPerHook: 1000 })
  const late = await fetch(path, { method: 'POST' })
  expect([late.status, ((await late.json()) as { code: string }).code]).toEqual([
    409,
    'body_not_kept',
  ])
})

describe('POST /hooks/NAME/dry-run', () => {
  test('tells what would be run, and whether it would be believed', async () => {
    const { url, deliver, logs } = await serveHook({
      events: ['push'],
      input: {
        body: 'raw',
        parameters: {},
        environment: { REF: { path: [{ name: 'ref' }] } },
      },
    })
    const dryRun = `${url}/hooks/deploy/dry-run`
    const body = push()
    const same = { 'x-github-delivery': 'guid' }
    const { status, json } = await deliver(body, same, dryRun)
    expect(status).toBe(200)
    expect(json).toEqual({
      verified: true,
      bodyBytes: body.length,
      messages: [
        {
          event: 'push',
          deliveryId: 'guid',
          verdict: 'accepted',
          parameters: {},
          environment: {
            REF: 'refs/heads/main',
            ONESHOT_TRIGGER: 'webhook',
            ONESHOT_HOOK: 'deploy',
            ONESHOT_DELIVERY_ID: 'guid',
            ONESHOT_EVENT: 'push',
          },
          stdinBytes: body.length,
        },
      ],
    })
    expect(await getJson(`${url}/invocations`)).toEqual({ invocations: [] })
    const { json: unsigned } = await deliver(body, { 'x-hub-signature-256': '' }, dryRun)
    expect(unsigned).toMatchObject({ verified: false, reason: 'signature_missing' })
    const { json: other } = await deliver(body, { 'x-github-event': 'issues' }, dryRun)
    expect(other).toMatchObject({ messages: [{ verdict: 'skipped' }] })
    const first = await deliver(body, same)
    expect((await deliver(body, same, dryRun)).json).toMatchObject({
      messages: [{ verdict: 'duplicate', duplicateOf: { id: first.json['id'] } }],
    })
    expect(logs.filter(({ msg }) => msg === 'delivery refused')).toEqual([])
  })

  test('takes the token of the delivery from X-Oneshot-Authorization', async () => {
    const { url } = await serveHook({ scheme: { provider: 'token', header: 'authorization' } })
    const run = async (headers: OutgoingHttpHeaders) => {
      const { body } = await post(`${url}/hooks/deploy/dry-run`, '{}', headers)
      return JSON.parse(String(await body())) as unknown
    }
    const token = `Bearer ${SECRET}`
    expect(await run({ 'X-Oneshot-Authorization': token })).toMatchObject({ verified: true })
    expect(await run({ Authorization: token })).toMatchObject({ reason: 'token_missing' })
  })
})
