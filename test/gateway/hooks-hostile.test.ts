import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import type { WebhookScheme } from '../../src/core/trigger.ts'
import { parseJsonPath } from '../../src/core/webhook/json-path.ts'
import { githubHeaders, hooked, SECRET, startHooked, toRequest } from './webhook.ts'

const path = (text: string) => ({ path: parseJsonPath(text)! })

const schemes: WebhookScheme[] = [
  { provider: 'github' },
  { provider: 'none', event: path('$.a'), id: path('$.b') },
  { provider: 'cloudevents', allowUnsigned: true },
  { provider: 'token', header: 'x-token', id: { header: 'x-id' } },
]

/** Of what is refused as something that can come from a sender; anything else is a fault. */
function toCode(error: unknown): string[] {
  if (!(error instanceof OneshotError)) throw error
  if (!['signature_invalid', 'bad_request'].includes(error.code)) throw error
  return [error.code]
}

const json = fc.json({ maxDepth: 4 })
const event = fc.record({
  specversion: fc.constantFrom('1.0', '1.0', '1'),
  id: fc.string({ minLength: 1 }),
  source: fc.string({ minLength: 1 }),
  type: fc.string(),
  data: fc.jsonValue({ maxDepth: 2 }),
})
const plain = Buffer.from(
  JSON.stringify([{ specversion: '1.0', id: '1', source: '/s', type: 't', data: { a: 'a' } }]),
)
const body = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  json.map((text) => Buffer.from(text)),
  fc.array(event, { maxLength: 3 }).map((events) => Buffer.from(JSON.stringify(events))),
  fc
    .dictionary(fc.constantFrom('a', 'b', 'c', '__proto__'), fc.jsonValue())
    .map((value) => Buffer.from(JSON.stringify(value))),
)
const names = ['x-token', 'x-id', 'ce-id', 'ce-type', 'x-github-event', 'x-github-delivery', 'x']
const value = fc
  .string({ unit: 'binary', maxLength: 50 })
  .map((text) => Buffer.from(text).toString('latin1'))
const types = fc.constantFrom(
  'application/json',
  'application/x-www-form-urlencoded',
  'application/cloudevents+json',
  'application/cloudevents-batch+json',
  'text/plain',
  '',
)

test.each(schemes)(
  'whatever comes to a webhook of $provider is taken or refused, and never a fault',
  async (scheme) => {
    const spec = hooked(
      {
        scheme,
        secrets: scheme.provider === 'cloudevents' ? [] : [{ value: SECRET }],
        when: {
          not: {
            all: [
              { ...path('$.a'), match: '^(a+)+$' },
              { header: 'x', eq: 'no' },
            ],
          },
        },
        input: {
          body: 'raw',
          parameters: { p: path('$.c') },
          environment: { E: path('$[*].a'), H: { header: 'x' } },
        },
        concurrency: { max: 1, key: path('$.a'), policy: 'queue' },
      },
      { parameters: { p: { type: 'string' } } },
    )
    const { hooks } = await startHooked(spec, { maxQueued: Infinity })
    const hook = hooks.get('deploy')
    const arrival = { callId: 'c', address: '', receivedAt: Date.now() }
    const verdicts = new Set<string>()
    await fc.assert(
      fc.asyncProperty(
        body,
        fc.dictionary(fc.constantFrom(...names), value),
        types,
        async (bytes, given, type) => {
          const signed = githubHeaders(bytes, { 'x-token': SECRET, ...given })
          const request = toRequest({ ...signed, 'content-type': type }, bytes)
          const received = await hooks.receive(hook, request, arrival).catch(toCode)
          for (const verdict of received) {
            verdicts.add(typeof verdict === 'string' ? verdict : verdict.verdict)
          }
          await hooks.dryRun(hook, request).catch(toCode)
        },
      ),
      { numRuns: 150, examples: [[plain, {}, 'application/cloudevents-batch+json']] },
    )
    expect(verdicts).toContain('accepted')
    for (const { id } of await hooks.listDeliveries('deploy', { limit: 50 })) {
      await hooks.getDelivery('deploy', id)
    }
  },
  30_000,
)
