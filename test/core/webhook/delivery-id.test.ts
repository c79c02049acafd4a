import { expect, test } from 'vitest'
import type { TokenScheme, WebhookScheme } from '../../../src/core/trigger.ts'
import { readDeliveryId } from '../../../src/core/webhook/delivery-id.ts'
import { parseJsonPath } from '../../../src/core/webhook/json-path.ts'
import { NOW, SECONDS, signing, toRequest } from './sign.ts'

type Headers = [string, string][]

const bytes = (text: string) => new TextEncoder().encode(text)
const read = (scheme: WebhookScheme, headers: Headers, text = '{}', now = NOW) =>
  readDeliveryId(scheme, toRequest(headers, bytes(text)), JSON.parse(text || 'null'), now)
const digest = /^sha256:[0-9a-f]{64}$/
const cloudevents: WebhookScheme = { provider: 'cloudevents', allowUnsigned: true }
const alertmanager: WebhookScheme = { provider: 'alertmanager', allowUnsigned: true }
const plain: TokenScheme = { provider: 'token', header: 'x-key' }
const guid = '72d3162e-cc78-11e3-81ab-4c9367dc0958'

test.each<[WebhookScheme, Headers, string, string]>([
  [{ provider: 'github' }, [['X-GitHub-Delivery', guid]], '{}', guid],
  [{ provider: 'gitea' }, [['X-Gitea-Delivery', guid]], '{}', guid],
  [{ provider: 'gitea' }, [['X-Forgejo-Delivery', guid]], '{}', guid],
  [{ provider: 'gitlab' }, [['Idempotency-Key', guid]], '{}', guid],
  [
    { provider: 'gitlab' },
    [
      ['Idempotency-Key', 'x'],
      ['webhook-id', guid],
    ],
    '{}',
    guid,
  ],
  [{ provider: 'stripe' }, [], '{"id":"evt_1"}', 'evt_1'],
  [{ provider: 'slack' }, [], '{"event_id":"Ev08MFMKH6"}', 'Ev08MFMKH6'],
  [{ provider: 'standard' }, [['webhook-id', 'msg_1']], '{}', 'msg_1'],
  [cloudevents, [], '{"source":"/a","id":"1"}', '["/a","1"]'],
  [{ ...plain, id: { header: 'x-id' } }, [['X-Id', '7']], '{}', '7'],
  [{ ...plain, id: { path: parseJsonPath('$.n')! } }, [], '{"n":7}', '7'],
])('%j %j %s', (scheme, headers, text, expected) => {
  expect(read(scheme, headers, text)).toBe(expected)
})

test('an id that is long, or no visible ASCII, or written as a digest, is hashed', () => {
  const of = (id: string) => read({ provider: 'github' }, [['X-GitHub-Delivery', id]])
  expect(of('x'.repeat(200))).toBe('x'.repeat(200))
  const odd = ['x'.repeat(201), 'x'.repeat(202), 'a b', 'é', `sha256:${'0'.repeat(64)}`]
  for (const id of odd) {
    expect(of(id)).toMatch(digest)
    expect(of(id)).not.toBe(id)
  }
  expect(new Set(odd.map(of)).size).toBe(odd.length)
})

test('source and id of a CloudEvent cannot be shifted into each other', () => {
  const of = (source: string, id: string) => read(cloudevents, [], JSON.stringify({ source, id }))
  expect(of('/a', 'b","c')).not.toBe(of('/a","b', 'c'))
})

test('signature and body cannot be shifted into each other', () => {
  const of = (value: string, text: string) =>
    readDeliveryId(
      { provider: 'github' },
      toRequest([['X-Hub-Signature-256', value]], bytes(text)),
      undefined,
      NOW,
    )
  expect(of('ab', 'c')).not.toBe(of('a', 'bc'))
})

test.each(signing)('without an id of its own, $name is known by signature and body', (each) => {
  const { scheme, secret, sign, idHeader } = each
  const of = (text: string, now = NOW, at = SECONDS) =>
    readDeliveryId(
      scheme,
      toRequest(
        sign(bytes(text), secret, at).filter(([name]) => name !== idHeader),
        bytes(text),
      ),
      {},
      now,
    )
  expect(of('{}')).toMatch(digest)
  expect(of('{}')).toBe(of('{}', NOW + 86_400_000))
  expect(of('{}')).not.toBe(of('{ }'))
})

test.each<[string, WebhookScheme]>([
  ['token', plain],
  ['alertmanager', alertmanager],
  ['none', { provider: 'none' }],
])('%s: the same body is the same delivery for five minutes, and then another', (_, scheme) => {
  const start = Math.ceil(NOW / 300_000) * 300_000
  const of = (text: string, now: number) => read(scheme, [['X-Key', 'secret']], text, now)
  expect(of('{}', start)).toMatch(digest)
  expect(of('{}', start)).toBe(of('{}', start + 299_999))
  expect(of('{}', start)).not.toBe(of('{}', start + 300_000))
  expect(of('{}', start)).not.toBe(of('[]', start))
})

test("GitLab's event id, which what it led to has as well, counts along with the body", () => {
  const of = (text: string, headers: Headers = [['X-Gitlab-Event-UUID', guid]]) =>
    read({ provider: 'gitlab' }, headers, text)
  expect(of('{}')).toBe(of('{}'))
  expect(of('{}')).not.toBe(of('[]'))
  expect(of('{}')).not.toBe(of('{}', [['X-Gitlab-Event-UUID', `${guid}0`]]))
})
