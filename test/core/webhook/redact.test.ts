import { expect, test } from 'vitest'
import type { WebhookScheme } from '../../../src/core/trigger.ts'
import { fromRecordedHeaders, redactHeaders } from '../../../src/core/webhook/redact.ts'
import { toHookHeaders } from '../../../src/core/webhook/request.ts'
import { SECONDS, signing, toRequest } from './sign.ts'

const github: WebhookScheme = { provider: 'github' }

test.each(signing)('no signature of $name is kept', ({ scheme, secret, sign, signatureHeader }) => {
  const headers = sign(new Uint8Array(3), secret, SECONDS)
  const kept = redactHeaders(toRequest(headers).headers, scheme)
  expect(Object.keys(kept)).toEqual(
    headers
      .map(([name]) => name.toLowerCase())
      .filter((name) => name !== signatureHeader.toLowerCase()),
  )
})

test.each([
  'Authorization',
  'Proxy-Authorization',
  'Cookie',
  'X-Gitlab-Token',
  'X-Hub-Signature',
  'X-Hub-Signature-256',
  'X-Shopify-Hmac-Sha256',
  'X-Api-Key',
  'ApiKey',
  'X-Amz-Security-Token',
  'X-Auth',
  'X-Twilio-Email-Event-Webhook-Signature',
  'X-Password',
  'X-Sig',
  'X-Session-Id',
  'Cf-Access-Jwt-Assertion',
])('%s is not kept', (name) => {
  expect(redactHeaders(toHookHeaders([name, 'value']), github)).toEqual({})
})

test("the header of a scheme's own secret is not kept, whatever its name is", () => {
  const headers = toHookHeaders(['X-Plain', 'secret', 'X-Other', 'x'])
  const scheme = { provider: 'token', header: 'x-plain' } as const
  expect(redactHeaders(headers, scheme)).toEqual({ 'x-other': 'x' })
  expect(redactHeaders(headers, github)).toEqual({ 'x-plain': 'secret', 'x-other': 'x' })
})

test('a value that tells a token is not kept', () => {
  for (const value of ['/hook/x?access_token=abc', 'Bearer abc', 'via=x; api_key=abc']) {
    expect(redactHeaders(toHookHeaders(['X-Original-Uri', value]), github)).toEqual({})
  }
})

test('what is kept is bounded, and read again as it was', () => {
  const many = Array.from({ length: 1000 }, (_, index) => [`x-${index}`, 'y'.repeat(5000)])
  const kept = redactHeaders(toHookHeaders(many.flat()), github)
  expect(Object.keys(kept)).toHaveLength(64)
  expect(kept['x-0']).toHaveLength(1000)
  expect(redactHeaders(toHookHeaders(['x'.repeat(101), 'y']), github)).toEqual({})
  const headers = toHookHeaders(
    [
      ['X-GitHub-Event', 'push'],
      ['X-GitHub-Delivery', '1'],
      ['Idempotency-Key', '2'],
      ['__proto__', 'x'],
      ['X-Name', 'Zo\u00c3\u00ab'],
    ].flat(),
  )
  const record = redactHeaders(headers, github)
  expect(record['x-name']).toBe('Zoë')
  expect(fromRecordedHeaders(record)).toEqual(headers)
})
