import * as fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { expect, test } from 'vitest'
import { createSigner, parseSecret, type Signing } from '../../src/core/signature.ts'

const key = fc.uint8Array({ minLength: 24, maxLength: 64 })
const toText = (bytes: Uint8Array) => `whsec_${Buffer.from(bytes).toString('base64')}`

/** Takes the body in pieces of this length. */
function sign({ body, ...signing }: Signing & { body: Uint8Array }, length = 1000) {
  const signer = createSigner(signing)
  for (let at = 0; at < body.length; at += length) signer.update(body.subarray(at, at + length))
  return signer.toHeaders()
}

test('the example of the specification is signed as it says', () => {
  const body = Buffer.from('{"test": 2432232314}')
  const secrets = [parseSecret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')!]
  const headers = sign({ id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', at: 1_614_265_330_999, body, secrets })
  expect(headers).toEqual({
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  })
})

test("receivers with the specification's own library accept any text, by either of two secrets", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.uuid(),
      fc.uniqueArray(key, { minLength: 1, maxLength: 2, selector: String }),
      (text, id, secrets) => {
        const body = new TextEncoder().encode(text)
        const headers = { ...sign({ id, at: Date.now(), body, secrets }) }
        for (const secret of secrets) {
          const webhook = new Webhook(toText(secret))
          webhook.verify(Buffer.from(body), headers, { jsonParse: false })
          expect(() => webhook.verify(`${text}.`, headers, { jsonParse: false })).toThrow(
            'No matching signature',
          )
        }
      },
    ),
  )
})

test('binary bodies are signed byte by byte, in whatever pieces they come', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      fc.integer({ min: 1, max: 4000 }),
      key,
      async (body, length, secret) => {
        const headers = sign({ id: 'a-b', at: 12_345_678, body, secrets: [secret] }, length)
        const [, signature] = headers['webhook-signature'].split(',')
        const algorithm = { name: 'HMAC', hash: 'SHA-256' }
        const imported = await crypto.subtle.importKey('raw', secret, algorithm, false, ['verify'])
        const signed = Buffer.concat([Buffer.from('a-b.12345.'), body])
        const raw = Buffer.from(signature!, 'base64')
        expect(await crypto.subtle.verify('HMAC', imported, raw, signed)).toBe(true)
      },
    ),
  )
})

test('there is one signature for each secret, in their order', () => {
  const secrets = [new Uint8Array(24).fill(1), new Uint8Array(24).fill(2)]
  const signing = { id: 'a', at: 0, body: new Uint8Array() }
  const one = secrets.map((secret) => sign({ ...signing, secrets: [secret] })['webhook-signature'])
  expect(sign({ ...signing, secrets })['webhook-signature']).toBe(one.join(' '))
})

test('a secret of 24 to 64 bytes is read as it was written', () => {
  fc.assert(
    fc.property(key, (secret) => {
      expect(Buffer.from(parseSecret(toText(secret))!).equals(secret)).toBe(true)
    }),
  )
})

const encoded = Buffer.alloc(25, 7).toString('base64')

test.each([
  '',
  'whsec_',
  encoded,
  `WHSEC_${encoded}`,
  `whsk_${encoded}`,
  ` whsec_${encoded}`,
  `whsec_${encoded}\n`,
  `whsec_ ${encoded}`,
  `whsec_${encoded.replace(/=+$/, '')}`,
  `whsec_${encoded.replace('==', '')}=`,
  toText(Buffer.alloc(27, 255)).replaceAll('/', '_'),
  toText(Buffer.alloc(23)),
  toText(Buffer.alloc(65)),
])('%j is no secret', (text) => {
  expect(parseSecret(text)).toBeUndefined()
})
