import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { WebhookTrigger } from '../../src/core/trigger.ts'
import { ACCESS } from '../../src/http/access.ts'
import { startAccess } from '../access/credentials.ts'
import { functionSpec } from '../function-spec.ts'
import { SECRET, githubHeaders, webhook } from '../gateway/webhook.ts'
import { rest } from '../gateway/working.ts'
import { exited } from './asynchronous.ts'
import { openFunctions } from './open-functions.ts'
import { post, serve } from './serve.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const TIMEOUT_MS = 120_000
const MIB = 1024 * 1024

const parameters = {
  ref: { type: 'string', pattern: '^[a-z/]*$' },
  count: { type: 'integer' },
  list: { type: 'array', items: { type: 'number' } },
} as const

/** A webhook of each kind, over all that a definition can ask of a delivery. */
const trigger = (name: string, scheme: WebhookTrigger['scheme']): WebhookTrigger =>
  webhook({
    name,
    scheme,
    secrets: scheme.provider === 'none' || 'allowUnsigned' in scheme ? [] : [{ value: SECRET }],
    when: {
      any: [
        { path: [{ name: 'ref' }], match: '^(a+)+$' },
        { not: { path: [{ name: 'a' }, { wildcard: true }], in: [1, 'a', null] } },
        { header: 'x-fuzz', exists: true },
      ],
    },
    input: {
      body: 'raw',
      parameters: { count: { path: [{ name: 'count' }] }, ref: { header: 'x-fuzz' } },
      environment: { ANY: { path: [{ wildcard: true }] }, FUZZ: { header: 'x-fuzz' } },
    },
    concurrency: { max: 100, key: { path: [{ name: 'ref' }] }, policy: 'drop' },
  })

const triggers: WebhookTrigger[] = [
  trigger('github', { provider: 'github' }),
  trigger('gitlab', { provider: 'gitlab' }),
  trigger('stripe', { provider: 'stripe' }),
  trigger('slack', { provider: 'slack' }),
  trigger('standard', { provider: 'standard' }),
  trigger('none', { provider: 'none' }),
  trigger('events', { provider: 'cloudevents', allowUnsigned: true }),
  trigger('alerts', { provider: 'alertmanager', allowUnsigned: true }),
]

async function start(options: Parameters<typeof serve>[1] = {}) {
  const access = await startAccess({ all: ['admin'], none: ['invoke:other'] })
  const served = await serve(
    { triggers, parameters, isPublic: true },
    { authenticator: access.authenticator, specs: [functionSpec({ name: 'other' })], ...options },
  )
  void endAll(served.next)
  const faults = () =>
    served.logs.filter(({ level }) => Number(level) >= 50).map((line) => JSON.stringify(line))
  return { ...served, access, faults }
}

/** Every command ends at once. */
async function endAll(next: Awaited<ReturnType<typeof serve>>['next']): Promise<void> {
  for (;;) (await next()).end(exited(0))
}

/** The status of what is answered to these bytes; undefined: the connection was closed without a word. `isAll`: nothing more is to come, as if the sender had gone. */
async function sendBytes(
  url: string,
  bytes: Uint8Array,
  isAll = false,
): Promise<number | undefined> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  if (isAll) socket.end(bytes)
  else socket.write(bytes)
  const answer = await text(socket).catch(() => '')
  return answer === '' ? undefined : Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
}

/** A fault of ours is told as one; what we refuse never is. */
const isFault = (status: number | undefined) =>
  status !== undefined && (Number.isNaN(status) || status === 500)

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}$/)
const known = fc.constantFrom(
  'Authorization',
  'X-Hub-Signature-256',
  'X-GitHub-Event',
  'X-GitHub-Delivery',
  'X-Gitlab-Token',
  'Stripe-Signature',
  'X-Slack-Signature',
  'X-Slack-Request-Timestamp',
  'webhook-id',
  'webhook-timestamp',
  'webhook-signature',
  'ce-id',
  'ce-source',
  'ce-type',
  'ce-specversion',
  'Content-Type',
  'Content-Encoding',
  'Accept',
  'Prefer',
  'Idempotency-Key',
  'X-Call-Id',
  'X-Request-Id',
  'X-Callback-Url',
  'X-Oneshot-Labels',
  'X-Forwarded-For',
  'X-Fuzz',
  'Origin',
  'Sec-Fetch-Site',
  'If-Match',
  'Expect',
  'Last-Event-ID',
  'WebHook-Request-Origin',
)
const telling = fc.constantFrom(
  'Bearer ',
  'Bearer osk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
  'sha256=',
  't=1,v1=',
  'v1,',
  'v0=00',
  'application/json',
  'application/cloudevents+json',
  'application/cloudevents-batch+json',
  'application/x-www-form-urlencoded',
  'text/event-stream',
  'wait=9999999999',
  'respond-async',
  'push',
  '1.0',
  '100-continue',
  'gzip',
  'cross-site',
  'null',
)
/** What a header's value may hold, by its bytes: no line ends, no NUL. */
const bytes = fc
  .array(fc.integer({ min: 32, max: 255 }), { maxLength: 60 })
  .map((codes) => String.fromCharCode(...codes.filter((code) => code !== 127)))
const value = fc.oneof(
  bytes,
  telling,
  fc.tuple(telling, bytes).map((pair) => pair.join('')),
)
const headers = fc.array(fc.tuple(fc.oneof(known, token), value), { maxLength: 12 })

const hostileSegment = fc.oneof(
  fc.constantFrom('other', '..', '%2e%2e', '%00', '%', ''),
  fc.string({ unit: 'binary', maxLength: 40 }).map(encodeURIComponentSafely),
  fc.stringMatching(/^[!-~]{0,30}$/),
)
const segment = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('test', 'mine', 'github', 'none', 'events') },
  { weight: 1, arbitrary: hostileSegment },
)
const routes = Object.keys(ACCESS).map((route) => route.split(' ') as [string, string])
const request = fc.record({
  route: fc.constantFrom(...routes),
  method: fc.oneof(
    { weight: 9, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'OPTIONS', 'TRACE') },
  ),
  segments: fc.array(segment, { minLength: 3, maxLength: 3 }),
  query: fc.oneof(fc.constant(''), fc.stringMatching(/^[!-~]{0,40}$/), fc.webQueryParameters()),
  headers,
  body: fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((json) => Buffer.from(json)),
    fc.constant(Buffer.from('{"image":"busybox"}')),
    fc.constant(Buffer.from('a=1&payload=%7B%7D')),
  ),
})

type Request = typeof request extends fc.Arbitrary<infer T> ? T : never

function encodeURIComponentSafely(given: string): string {
  return encodeURIComponent(given.toWellFormed())
}

function toBytes(it: Request): Buffer {
  const [method, pattern] = it.route
  const left = [...it.segments]
  const path = pattern.replaceAll(/\{\w+\}/g, () => left.shift() ?? '')
  const target = it.query === '' ? path : `${path}?${it.query.replaceAll(/[\s#]/g, '')}`
  const lines = [
    `${it.method ?? method} ${target} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Connection: close',
    ...it.headers.map(([name, content]) => `${name}: ${content}`),
    `Content-Length: ${it.body.length}`,
  ]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), it.body])
}

describe('whatever comes', () => {
  test(
    'on any route, with any names, headers and bodies, is answered without a fault',
    async () => {
      const secret = 'secrets: [{ env: HOOK_SECRET }]'
      const definition = `image: busybox
public: true
parameters: { ref: { type: string, pattern: "^[a-z/]*$" }, list: { type: array, items: { type: number } } }
triggers:
  - { type: webhook, name: github, provider: github, ${secret} }
  - { type: webhook, name: events, provider: cloudevents, allowUnsigned: true }
  - { type: webhook, name: none, provider: none, allowUnsigned: true }
  - { type: schedule, every: 1h }
`
      const files = { 'test.yml': definition, 'other.yml': 'image: busybox' }
      const functions = await openFunctions(files, { HOOK_SECRET: SECRET })
      const { url, faults, access } = await start({ functions })
      const statuses = new Set<number | undefined>()
      const credentials = [['Authorization', access.bearer('all')]] as const
      const key = fc.constantFrom([], credentials)
      // What chance may not come upon, in this order.
      const examples = (
        [
          ['PUT', '/functions/{name}', 'mine', 'image: busybox'],
          ['PUT', '/functions/{name}', 'mine', 'image: ""'],
          ['DELETE', '/functions/{name}', 'mine', ''],
          ['POST', '/async-function/{name}', 'test', 'input'],
        ] as const
      ).map(([method, path, name, body]): [Request, typeof credentials] => [
        {
          route: [method, path],
          method: undefined,
          segments: [name, '', ''],
          query: '',
          headers: [['Content-Type', 'text/plain']],
          body: Buffer.from(body),
        },
        credentials,
      ])
      await fc.assert(
        fc.asyncProperty(request, key, async (given, shown) => {
          const all = [...shown, ...given.headers] as typeof given.headers
          const status = await sendBytes(url, toBytes({ ...given, headers: all }))
          statuses.add(status)
          expect([given, isFault(status)]).toEqual([given, false])
        }),
        { numRuns: 1500, examples },
      )
      expect(faults()).toEqual([])
      // It has come further than to the door.
      for (const status of [200, 201, 202, 204, 400, 401, 404, 405, 422])
        expect(statuses).toContain(status)
    },
    TIMEOUT_MS,
  )

  test(
    'that is no HTTP at all, or no whole request, takes nothing down',
    async () => {
      const { url, faults } = await start()
      const whole = request.map(toBytes)
      const cut = fc.tuple(whole, fc.nat(400)).map(([given, at]) => given.subarray(0, at))
      const broken = fc
        .tuple(whole, fc.nat(400), fc.uint8Array({ maxLength: 8 }))
        .map(([given, at, noise]) =>
          Buffer.concat([given.subarray(0, at), noise, given.subarray(at + noise.length)]),
        )
      const noise = fc.uint8Array({ maxLength: 300 })
      await fc.assert(
        fc.asyncProperty(fc.oneof(noise, cut, broken), async (given) => {
          expect([given, isFault(await sendBytes(url, given, true))]).toEqual([given, false])
        }),
        { numRuns: 600 },
      )
      expect(faults()).toEqual([])
      expect((await fetch(`${url}/healthz`)).status).toBe(200)
    },
    TIMEOUT_MS,
  )

  test(
    'as a token is believed only if it is the one that was signed',
    async () => {
      const access = await startAccess({})
      const { issuer } = access
      const { url, logs } = await serve({}, { authenticator: access.authenticator })
      const right = await issuer.sign(issuer.claims('read'))
      const ask = async (credentials: string) =>
        sendBytes(
          url,
          Buffer.from(
            `GET /functions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer ${credentials}\r\n\r\n`,
            'latin1',
          ),
        )
      expect(await ask(right)).toBe(200)
      const encode = (it: unknown) => Buffer.from(JSON.stringify(it) ?? '').toString('base64url')
      const [head = '', payload = '', signature = ''] = right.split('.')
      const made = fc.oneof(
        fc.tuple(fc.jsonValue(), fc.jsonValue()).map(([a, b]) => `${encode(a)}.${encode(b)}.`),
        fc.jsonValue().map((it) => `${encode(it)}.${payload}.${signature}`),
        fc.jsonValue().map((it) => `${head}.${encode(it)}.${signature}`),
        fc
          .dictionary(fc.constantFrom('alg', 'kid', 'typ', 'crit', 'jwk', 'x5u'), fc.jsonValue())
          .map((it) => `${encode({ alg: 'EdDSA', ...it, kid: 'two' })}.${payload}.${signature}`),
        fc
          .tuple(fc.nat(right.length - 1), fc.constantFrom('A', 'z', '.', '_', '=', '%'))
          .map(([at, sign]) => right.slice(0, at) + sign + right.slice(at + 1)),
        fc.nat(right.length - 1).map((at) => right.slice(0, at)),
        bytes,
        fc.integer({ min: 1, max: 12_000 }).map((length) => `${'a'.repeat(length)}.b.c`),
      )
      await fc.assert(
        fc.asyncProperty(made, async (given) => {
          fc.pre(given.trim() !== right)
          const status = await ask(given)
          // The last sign of a signature has bits that say nothing; jose takes them as they come.
          const isRight = given.slice(0, -1) === right.slice(0, -1)
          expect(isRight ? [200, 401] : [400, 401, 429, 431]).toContain(status)
        }),
        { numRuns: 800 },
      )
      expect(JSON.stringify(logs)).not.toContain(signature)
    },
    TIMEOUT_MS,
  )

  test(
    'as a signed delivery ends in a verdict',
    async () => {
      const { url, faults } = await start()
      const content = fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.jsonValue({ maxDepth: 6 }).map((it) => Buffer.from(JSON.stringify(it))),
        fc
          .record(
            { ref: fc.anything(), count: fc.anything(), a: fc.jsonValue(), zen: fc.string() },
            { requiredKeys: [] },
          )
          .map((it) => Buffer.from(toJson(it))),
      )
      const types = fc.constantFrom(
        'application/json',
        'application/x-www-form-urlencoded',
        'application/cloudevents+json',
        'application/cloudevents-batch+json',
        'text/plain',
      )
      const extra = fc.dictionary(fc.constantFrom('x-fuzz', 'x-github-event'), bytes)
      const name = fc.constantFrom('github', 'none', 'events', 'alerts')
      await fc.assert(
        fc.asyncProperty(content, types, extra, name, async (body, type, given, hook) => {
          const sent = githubHeaders(body, { ...given, 'content-type': type })
          const { status, body: read } = await post(`${url}/hook/${hook}`, body, sent)
          await read()
          expect([200, 202, 400, 422]).toContain(status)
        }),
        { numRuns: 600 },
      )
      expect(faults()).toEqual([])
    },
    TIMEOUT_MS,
  )

  test(
    'leaves no memory behind',
    async () => {
      const { url } = await start()
      const rush = async (rounds: number) => {
        for (let round = 0; round < rounds; round += 1) {
          const requests = fc.sample(request, { numRuns: 50, seed: round + 1 })
          await Promise.all(requests.map((it) => sendBytes(url, toBytes(it))))
          const wrong = githubHeaders('x'.repeat(64 * 1024), { 'x-hub-signature-256': 'sha256=00' })
          await Promise.all(
            Array.from({ length: 10 }, (_, index) =>
              post(`${url}/hook/github`, 'x'.repeat(64 * 1024), {
                ...wrong,
                'x-github-delivery': `${round}-${index}`,
              }).then(({ body }) => body()),
            ),
          )
        }
      }
      const heap = async () => {
        await rest()
        collectGarbage()
        return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
      }
      await rush(10)
      const before = await heap()
      await rush(40)
      expect((await heap()) - before).toBeLessThan(24 * MIB)
    },
    TIMEOUT_MS,
  )
})

/** What has no form in JSON is left out. */
function toJson(it: object): string {
  try {
    return JSON.stringify(it, (_, each: unknown) =>
      typeof each === 'bigint' ? String(each) : each,
    )
  } catch {
    return '{}'
  }
}
