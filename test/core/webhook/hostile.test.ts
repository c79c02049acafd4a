import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OneshotError } from '../../../src/core/error.ts'
import type { Rule, WebhookScheme } from '../../../src/core/trigger.ts'
import { parseHookBody } from '../../../src/core/webhook/body.ts'
import { readCloudEvents } from '../../../src/core/webhook/cloud-event.ts'
import { readDeliveryId } from '../../../src/core/webhook/delivery-id.ts'
import {
  findAnswer,
  matchesEvents,
  readEvent,
  toEventName,
} from '../../../src/core/webhook/event.ts'
import { answerHandshake } from '../../../src/core/webhook/handshake.ts'
import { toHookInput } from '../../../src/core/webhook/input.ts'
import { parseJsonPath } from '../../../src/core/webhook/json-path.ts'
import { redactHeaders } from '../../../src/core/webhook/redact.ts'
import type { HookRequest } from '../../../src/core/webhook/request.ts'
import { findHeader } from '../../../src/core/webhook/request.ts'
import { matchesRule } from '../../../src/core/webhook/rule.ts'
import { checkSecret } from '../../../src/core/webhook/secret.ts'
import { verifyDelivery } from '../../../src/core/webhook/verify.ts'
import { NOW, SECONDS, signing, toRequest } from './sign.ts'

const bearers: WebhookScheme[] = [
  { provider: 'cloudevents', allowUnsigned: true },
  { provider: 'alertmanager', allowUnsigned: false },
  { provider: 'token', header: 'x-key', event: { header: 'x-event' }, id: { header: 'x-id' } },
  { provider: 'none', event: { path: parseJsonPath('$.type')! } },
]
const rule: Rule = {
  any: [
    { path: parseJsonPath('$..a') ?? parseJsonPath('$.*.*')!, match: '(a+)+$' },
    { not: { path: parseJsonPath('$[-1]')!, in: [1, 'a', null] } },
    { header: 'x-github-event', eq: 'push' },
  ],
}

/** Everything that is made of a delivery but what a definition asks for by itself. */
function readAll(scheme: WebhookScheme, secret: string, request: HookRequest): unknown[] {
  const contentType = findHeader(request.headers, 'content-type')
  const results: unknown[] = [checkSecret(scheme, secret), answerHandshake(request.headers)]
  const json = parseHookBody(contentType, request.body)
  const documents = [json]
  const verified = verifyDelivery({ scheme, secrets: [{ value: secret }] }, request, NOW)
  results.push(verified, redactHeaders(request.headers, scheme))
  const attempts = [
    () => {
      const events = readCloudEvents(request)
      documents.push(...events.map((event) => event.json))
    },
    () => {
      const path = { path: parseJsonPath('$.type')! }
      const input = { parameters: { p: path }, environment: { E: path } }
      const content = { headers: request.headers, json }
      results.push(toHookInput(input, { p: { type: 'integer' } }, content))
    },
  ]
  for (const attempt of attempts) {
    try {
      attempt()
    } catch (error) {
      if (!(error instanceof OneshotError)) throw error
      results.push([error.code, error.message, error.violations])
    }
  }
  for (const document of documents) {
    const event = readEvent(scheme, request.headers, document)
    results.push(event && toEventName(event), matchesEvents(['push'], event))
    results.push(findAnswer(scheme, event, document))
    results.push(readDeliveryId(scheme, request, document, NOW))
    results.push(matchesRule(rule, { headers: request.headers, json: document }))
  }
  return results
}

const names = [
  ...signing.flatMap(({ signatureHeader, timestampHeader, idHeader }) => [
    signatureHeader,
    timestampHeader ?? '__proto__',
    idHeader ?? 'constructor',
  ]),
  'authorization',
  'content-type',
  'x-gitlab-token',
  'x-github-event',
  'x-event',
  'x-id',
  'ce-id',
  'ce-source',
  'ce-type',
  'ce-specversion',
  'ce-x',
  'webhook-request-origin',
  'x-hub-signature',
  'x-gitlab-event-uuid',
  'idempotency-key',
  'x-github-delivery',
]
const values = fc.oneof(
  fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) }),
  fc.stringMatching(
    /^(?:t=\d{0,12}|v1a?|v0|sha256)[=,][0-9a-f]{0,70}(?:[ ,]v1[,=][A-Za-z0-9+/=]*)?$/,
  ),
  fc.constantFrom(
    String(SECONDS),
    '1.0',
    'Bearer x',
    'application/json',
    'application/cloudevents+json',
    'application/cloudevents-batch+json',
    'application/x-www-form-urlencoded',
  ),
)
const bodies = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.json().map((text) => new TextEncoder().encode(text)),
  fc
    .array(fc.record({ id: fc.jsonValue(), source: fc.jsonValue(), type: fc.jsonValue() }))
    .map((events) => Buffer.from(JSON.stringify(events))),
  fc.webQueryParameters().map((text) => new TextEncoder().encode(`payload=${text}`)),
)
const schemes = fc.constantFrom(...signing.map(({ scheme }) => scheme), ...bearers)

test('whatever comes, nothing but refusals is thrown, and none of it is believed', () => {
  fc.assert(
    fc.property(
      schemes,
      fc.string({ unit: 'binary', minLength: 1 }),
      fc.array(fc.tuple(fc.constantFrom(...names), values), { maxLength: 12 }),
      bodies,
      fc.webQueryParameters(),
      (scheme, secret, headers, body, query) => {
        const request = toRequest(headers, body, query)
        expect(readAll(scheme, secret, request).length).toBeGreaterThan(6)
        const { ok } = verifyDelivery({ scheme, secrets: [{ value: `${secret}…` }] }, request, NOW)
        expect(ok).toBe(scheme.provider === 'none')
      },
    ),
    { numRuns: 2000 },
  )
})

test.each(signing)('nothing that is made of a delivery holds its right MAC: $name', (each) => {
  const { scheme, secret, sign, signatureHeader, macOf } = each
  fc.assert(
    fc.property(bodies, fc.boolean(), (body, isRight) => {
      const headers = sign(body, secret, SECONDS)
      const mac = macOf(headers.find(([name]) => name === signatureHeader)![1])
      const wrong = headers.map(([name, value]): [string, string] => [
        name,
        name === signatureHeader ? value.replaceAll(/[1-9]/g, '0') : value,
      ])
      const request = toRequest(isRight ? headers : wrong, body)
      const told = JSON.stringify(readAll(scheme, secret, request))
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        expect(told.toLowerCase()).not.toContain(mac.toString(encoding).slice(0, 16).toLowerCase())
      }
      expect(told).not.toContain(secret)
    }),
  )
})

test('nothing takes long for a hostile header', () => {
  const long = 16 * 1024
  const headers: [string, string][] = [
    ['stripe-signature', 't=1,'.repeat(long / 4)],
    ['webhook-signature', 'v1,AAAA '.repeat(long / 8)],
    ['authorization', `Bearer${' '.repeat(long)}`],
    ['x-forwarded-uri', 'passw'.repeat(long / 5)],
    ['x-original-uri', 'auth'.repeat(long / 4)],
    ['ce-x', `"${'\\'.repeat(long)}`],
    ['content-type', '/'.repeat(long)],
    ['webhook-request-origin', '.'.repeat(long)],
  ]
  const begin = performance.now()
  for (const scheme of [...signing.map((each) => each.scheme), ...bearers]) {
    readAll(scheme, 'a secret', toRequest(headers, new Uint8Array(1_000_000)))
  }
  expect(performance.now() - begin).toBeLessThan(2000)
})
