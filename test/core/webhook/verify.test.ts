import { sign as signAsGithub, verify as verifyAsGithub } from '@octokit/webhooks-methods'
import * as fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { Stripe } from 'stripe'
import { describe, expect, test } from 'vitest'
import type { WebhookScheme } from '../../../src/core/trigger.ts'
import type { RefusalReason } from '../../../src/core/webhook/verify.ts'
import { verifyDelivery } from '../../../src/core/webhook/verify.ts'
import type { Case } from './sign.ts'
import { NOW, SECONDS, signing, toRequest } from './sign.ts'

const ok = { ok: true }
const refused = (reason: RefusalReason) => ({ ok: false, reason })
const bytes = (text: string) => new TextEncoder().encode(text)
const secretsOf = (...values: string[]) => values.map((value) => ({ value }))
const body = bytes('{"ref":"refs/heads/main","who":"Zoë 🦊"}')

describe('what the vendors publish is verified', () => {
  const slack =
    'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c'
  const hmac = { provider: 'hmac', algorithm: 'sha256', encoding: 'base64', prefix: '' } as const
  test.each<[string, WebhookScheme, string, [string, string][], string, number]>([
    [
      "GitHub's documentation",
      { provider: 'github' },
      "It's a Secret to Everybody",
      [
        [
          'X-Hub-Signature-256',
          'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17',
        ],
      ],
      'Hello, World!',
      0,
    ],
    [
      "Slack's documentation",
      { provider: 'slack' },
      '8f742231b10e8888abcd99yyyzzz85a5',
      [
        ['X-Slack-Request-Timestamp', '1531420618'],
        [
          'X-Slack-Signature',
          'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
        ],
      ],
      slack,
      1_531_420_618,
    ],
    [
      "the specification's libraries, of v1",
      { provider: 'standard' },
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      [
        ['webhook-id', 'msg_p5jXN8AQM9LWM0D4loKWxJek'],
        ['webhook-timestamp', '1614265330'],
        ['webhook-signature', 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='],
      ],
      '{"test": 2432232314}',
      1_614_265_330,
    ],
    [
      "Svix's server, of v1a",
      { provider: 'standard' },
      'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=',
      [
        ['webhook-id', 'msg_p5jXN8AQM9LWM0D4loKWxJek'],
        ['webhook-timestamp', '1614265330'],
        [
          'webhook-signature',
          'v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==',
        ],
      ],
      '{"test": 2432232314}',
      1_614_265_330,
    ],
    [
      "Shopify's documentation",
      { ...hmac, header: 'x-shopify-hmac-sha256', template: '{body}' },
      '1234',
      [['X-Shopify-Hmac-Sha256', '9S2QaXNYueRAz5eBAz0nA8JRxR7BCC3lMDe1XJYocyk=']],
      '{"shop_id":1234,"shop_domain":"my-shop.myshopify.com","customer":{"id":1234,"email":"derek@morash.com","phone":null},"orders_requested":[1234,5678,9012]}',
      0,
    ],
    [
      "Zendesk's documentation of event connectors",
      {
        ...hmac,
        header: 'x-zendesk-webhook-signature',
        template: '{body}{timestamp}',
        timestamp: { header: 'x-zendesk-webhook-signature-timestamp', unit: 'iso' },
      },
      'HRkRd4BeOAoUkfZr-mhauJT64rvBASlJRoIyPsd3zeA=',
      [
        ['X-Zendesk-Webhook-Signature-Timestamp', '2021-07-25T10:00:00Z'],
        ['X-Zendesk-Webhook-Signature', 'tRDSF7URY8BLCDlaBcQ7FHu051Zk+aAB0NKMP53teMw='],
      ],
      '{"say": "hello"}',
      Date.UTC(2021, 6, 25, 10) / 1000,
    ],
  ])('%s', (_, scheme, secret, headers, text, at) => {
    const trigger = { scheme, secrets: secretsOf(secret) }
    const verified = verifyDelivery(trigger, toRequest(headers, bytes(text)), at * 1000)
    expect(verified).toEqual(ok)
    const changed = verifyDelivery(trigger, toRequest(headers, bytes(`${text} `)), at * 1000)
    expect(changed).toEqual(refused('signature_mismatch'))
  })
})

/** A delivery as it should be, and ways to spoil it. */
function setUp({ scheme, secret, sign, signatureHeader }: Case) {
  const trigger = { scheme, secrets: secretsOf(secret) }
  const headers = sign(body, secret, SECONDS)
  const verify = (given: typeof headers, text = body, now = NOW) =>
    verifyDelivery(trigger, toRequest(given, text), now)
  const without = (name: string) => headers.filter(([header]) => header !== name)
  const withValue = (name: string, value: string): typeof headers => [
    ...without(name),
    [name, value],
  ]
  const signature = headers.find(([name]) => name === signatureHeader)![1]
  return { trigger, headers, verify, without, withValue, signature }
}

describe.each(signing)('$name', (each) => {
  const { scheme, secret, other, sign, signatureHeader } = each
  const { trigger, headers, verify, without, withValue, signature } = setUp(each)

  test('what is signed with the secret is verified, whatever its bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (random) => {
        expect(verify(sign(random, secret, SECONDS), random)).toEqual(ok)
      }),
    )
  })

  test('one changed byte of the body is refused', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (random, at, bits) => {
          const signed = sign(random, secret, SECONDS)
          const changed = Uint8Array.from(random)
          changed[at % changed.length]! ^= bits
          expect(verify(signed, changed)).toEqual(refused('signature_mismatch'))
          expect(verify(signed, random.subarray(1))).toEqual(refused('signature_mismatch'))
        },
      ),
    )
  })

  test('one changed character of the signature is refused', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 33, max: 126 }), (at, code) => {
        const place = at % signature.length
        const replacement = String.fromCharCode(code)
        fc.pre(signature[place] !== replacement)
        const changed = `${signature.slice(0, place)}${replacement}${signature.slice(place + 1)}`
        expect(verify(withValue(signatureHeader, changed)).ok).toBe(false)
      }),
    )
  })

  test('a signature that is missing, empty, doubled, cut, of bytes that are no text or too long is refused', () => {
    const missing = verify(without(signatureHeader))
    expect(missing).toEqual(refused('signature_missing'))
    expect(verify(withValue(signatureHeader, ''))).toEqual(refused('signature_missing'))
    const doubled = verify([...headers, [signatureHeader.toUpperCase(), signature]])
    expect(doubled).toEqual(refused('signature_repeated'))
    for (const malformed of [
      signature.slice(0, -1),
      `${signature}0`,
      `${signature}=`,
      `${signature}, ${signature}`,
      signature.replace(/.$/, 'é'),
      ` ${signature}`,
      'x'.repeat(5000),
    ]) {
      const verified = verify(withValue(signatureHeader, malformed))
      expect([malformed, verified]).toEqual([malformed, refused('signature_malformed')])
    }
  })

  test('the raw MAC, or nothing of its length, is refused', () => {
    const raw = each.macOf(signature)
    expect(verify(withValue(signatureHeader, raw.toString('latin1'))).ok).toBe(false)
    expect(verify(withValue(signatureHeader, '0'.repeat(64))).ok).toBe(false)
  })

  test('another secret, an expired one and an empty one are refused', () => {
    const request = toRequest(sign(body, other, SECONDS), body)
    expect(verifyDelivery(trigger, request, NOW)).toEqual(refused('signature_mismatch'))
    const rotated = { scheme, secrets: [{ value: secret }, { value: other, notAfter: NOW }] }
    expect(verifyDelivery(rotated, request, NOW)).toEqual(ok)
    expect(verifyDelivery(rotated, request, NOW + 1)).toEqual(refused('secret_expired'))
    expect(verifyDelivery(rotated, toRequest(headers, body), NOW + 1)).toEqual(ok)
    const allExpired = { scheme, secrets: [{ value: other, notAfter: NOW - 1 }] }
    expect(verifyDelivery(allExpired, request, NOW)).toEqual(refused('no_secret_valid'))
    const odd = { scheme, secrets: [{ value: other, notAfter: Number.NaN }] }
    expect(verifyDelivery(odd, request, NOW)).toEqual(refused('no_secret_valid'))
    for (const secrets of [[], secretsOf('')]) {
      const verified = verifyDelivery({ scheme, secrets }, request, NOW)
      expect(verified).toEqual(refused('no_secret_valid'))
    }
  })
})

describe.each(signing.filter(({ secret }) => !/^wh(?:sec|pk)_.*=$/.test(secret)))(
  '$name, with an empty secret',
  ({ scheme, secret, sign }) => {
    test('what it would have signed is refused', () => {
      const request = toRequest(sign(body, '', SECONDS), body)
      const verified = verifyDelivery({ scheme, secrets: secretsOf('', secret) }, request, NOW)
      expect(verified).toEqual(refused('signature_mismatch'))
    })
  },
)

describe.each(signing.filter(({ stamp }) => stamp))('the time of $name', (each) => {
  const { secret, sign } = each
  const { headers, verify } = setUp(each)
  const stamp = each.stamp!

  test('is taken within five minutes, before or after, and not beyond', () => {
    const at = (offset: number) => verify(sign(body, secret, SECONDS + offset))
    expect([at(-300), at(300)]).toEqual([ok, ok])
    expect(at(-301)).toEqual(refused('timestamp_too_old'))
    expect(at(301)).toEqual(refused('timestamp_in_future'))
    expect(verify(headers, body, Number.NaN).ok).toBe(false)
  })

  test('is refused if it is not the signed one', () => {
    expect(verify(stamp(headers, String(SECONDS + 1)))).toEqual(refused('signature_mismatch'))
    expect(verify(stamp(headers, `0${SECONDS}`))).toEqual(refused('signature_mismatch'))
  })

  test.each([
    `+${SECONDS}`,
    `-${SECONDS}`,
    `${SECONDS}.0`,
    `${SECONDS}e0`,
    `0x${SECONDS.toString(16)}`,
    `${SECONDS}x`,
    '٣٤٥',
    'NaN',
    'Infinity',
    '1'.repeat(30),
  ])('is malformed as %s', (time) => {
    const { ok, reason } = verify(stamp(headers, time)) as { ok: boolean; reason: string }
    expect(ok).toBe(false)
    // In Stripe's header a sign that is none of its own spoils all of it.
    expect(['timestamp_malformed', 'signature_malformed']).toContain(reason)
  })
})

describe.each(signing.filter(({ timestampHeader }) => timestampHeader))(
  "the time's header of $name",
  (each) => {
    const { headers, verify, without, withValue } = setUp(each)
    const name = each.timestampHeader!

    test('is refused if it is missing, empty or doubled', () => {
      expect(verify(without(name))).toEqual(refused('timestamp_missing'))
      expect(verify(withValue(name, ''))).toEqual(refused('timestamp_missing'))
      const doubled = verify([...headers, [name, String(SECONDS)]])
      expect(doubled).toEqual(refused('timestamp_repeated'))
      expect(verify(withValue(name, ` ${SECONDS}`))).toEqual(refused('timestamp_malformed'))
    })
  },
)

describe.each(signing.filter(({ idHeader }) => idHeader))('the id of $name', (each) => {
  const { headers, verify, without, withValue } = setUp(each)
  const name = each.idHeader!

  test('is refused if it is missing, doubled, too long, or holds what delimits it', () => {
    expect(verify(without(name))).toEqual(refused('id_missing'))
    expect(verify([...headers, [name, 'x']])).toEqual(refused('id_repeated'))
    expect(verify(withValue(name, 'x'))).toEqual(refused('signature_mismatch'))
    const delimiter = each.scheme.provider === 'hmac' ? '/' : '.'
    for (const id of [`a${delimiter}1`, 'a b', 'é', 'x'.repeat(257)]) {
      expect(verify(withValue(name, id))).toEqual(refused('id_malformed'))
    }
  })
})

describe('what is signed in another way is refused', () => {
  const hex = '0'.repeat(64)
  const base64 = Buffer.alloc(32).toString('base64')
  const symmetric = signing.find(({ name }) => name === 'standard')!
  const stamped: [string, string][] = [
    ['webhook-id', 'a'],
    ['webhook-timestamp', String(SECONDS)],
  ]
  test.each<[string, WebhookScheme, string, [string, string][], RefusalReason]>([
    [
      'GitHub, SHA-1 alone',
      { provider: 'github' },
      'x',
      [['X-Hub-Signature', `sha1=${'0'.repeat(40)}`]],
      'algorithm_unsupported',
    ],
    [
      'GitHub, SHA-1 in the place of SHA-256',
      { provider: 'github' },
      'x',
      [['X-Hub-Signature-256', `sha1=${'0'.repeat(40)}`]],
      'algorithm_unsupported',
    ],
    [
      'GitHub, without its prefix',
      { provider: 'github' },
      'x',
      [['X-Hub-Signature-256', hex]],
      'signature_malformed',
    ],
    [
      "Gitea, only with GitHub's header",
      { provider: 'gitea' },
      'x',
      [['X-Hub-Signature', `sha1=${'0'.repeat(40)}`]],
      'algorithm_unsupported',
    ],
    [
      'Stripe, v0 alone',
      { provider: 'stripe' },
      'x',
      [['Stripe-Signature', `t=${SECONDS},v0=${hex}`]],
      'algorithm_unsupported',
    ],
    [
      'Stripe, two times',
      { provider: 'stripe' },
      'x',
      [['Stripe-Signature', `t=1,t=${SECONDS},v1=${hex}`]],
      'timestamp_repeated',
    ],
    [
      'Stripe, no time',
      { provider: 'stripe' },
      'x',
      [['Stripe-Signature', `v1=${hex}`]],
      'timestamp_missing',
    ],
    [
      'Slack, v1',
      { provider: 'slack' },
      'x',
      [
        ['X-Slack-Request-Timestamp', String(SECONDS)],
        ['X-Slack-Signature', `v1=${hex}`],
      ],
      'algorithm_unsupported',
    ],
    [
      'Standard Webhooks, v2 alone',
      { provider: 'standard' },
      symmetric.secret,
      [...stamped, ['webhook-signature', `v2,${base64}`]],
      'algorithm_unsupported',
    ],
    [
      'Standard Webhooks, v1a for a symmetric secret',
      { provider: 'standard' },
      symmetric.secret,
      [...stamped, ['webhook-signature', `v1a,${Buffer.alloc(64).toString('base64')}`]],
      'algorithm_unsupported',
    ],
    [
      'Standard Webhooks, more signatures than anyone needs',
      { provider: 'standard' },
      symmetric.secret,
      [...stamped, ['webhook-signature', Array(9).fill(`v1,${base64}`).join(' ')]],
      'signature_malformed',
    ],
  ])('%s', (_, scheme, secret, headers, reason) => {
    const verified = verifyDelivery(
      { scheme, secrets: secretsOf(secret) },
      toRequest(headers, body),
      NOW,
    )
    expect(verified).toEqual(refused(reason))
  })

  test('a public key is no symmetric secret: what is signed with its bytes by HMAC is refused', () => {
    const { scheme, secret } = signing.find(({ name }) => name === 'standard (v1a)')!
    const headers = symmetric.sign(body, `whsec_${secret.slice(5)}`, SECONDS)
    const verified = verifyDelivery(
      { scheme, secrets: secretsOf(secret) },
      toRequest(headers, body),
      NOW,
    )
    expect(verified).toEqual(refused('algorithm_unsupported'))
  })

  test('a template that leaves the body out believes nothing', () => {
    const { scheme, secret, sign } = signing.at(-1)!
    const odd = { ...scheme, template: 'x' } as WebhookScheme
    const headers = sign(bytes(''), secret, SECONDS)
    const trigger = { scheme: odd, secrets: secretsOf(secret) }
    const verified = verifyDelivery(trigger, toRequest(headers, body), NOW)
    expect(verified).toEqual(refused('algorithm_unsupported'))
  })
})

test('of several signatures one is enough, and signatures of other kinds are passed over', () => {
  const find = (name: string) => signing.find((each) => each.name === name)!
  const stripe = find('stripe')
  const valueOf = (each: typeof stripe, secret: string) =>
    each.sign(body, secret, SECONDS).find(([name]) => name === each.signatureHeader)![1]
  const old = valueOf(stripe, 'old').split(',')[1]
  const header = `${valueOf(stripe, stripe.secret)},${old},v0=${'0'.repeat(64)}`
  const trigger = { scheme: stripe.scheme, secrets: secretsOf(stripe.secret) }
  const reversed = header.split(',').toReversed().join(',')
  for (const value of [header, reversed]) {
    const request = toRequest([['Stripe-Signature', value]], body)
    expect(verifyDelivery(trigger, request, NOW)).toEqual(ok)
  }
  const [v1, v1a] = [find('standard'), find('standard (v1a)')]
  const both = `v2,AAAA ${valueOf(v1, v1.other)} ${valueOf(v1a, v1a.secret)}`
  const headers = v1.sign(body, v1.secret, SECONDS).slice(0, 2)
  const request = toRequest([...headers, ['webhook-signature', both]], body)
  const verify = (...values: string[]) =>
    verifyDelivery({ scheme: v1.scheme, secrets: secretsOf(...values) }, request, NOW)
  expect([verify(v1.other), verify(v1a.secret), verify(v1.secret, v1a.secret)]).toEqual([
    ok,
    ok,
    ok,
  ])
  expect(verify(v1.secret, v1a.other)).toEqual(refused('signature_mismatch'))
})

describe('the vendors’ own libraries agree', () => {
  const text = fc.string({ unit: 'binary', minLength: 1 })
  const secret = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 100 })

  test('@octokit/webhooks-methods', async () => {
    const check = (value: string, header: string, key: string) =>
      verifyDelivery(
        { scheme: { provider: 'github' }, secrets: secretsOf(key) },
        toRequest([['X-Hub-Signature-256', header]], bytes(value)),
        NOW,
      ).ok
    await fc.assert(
      fc.asyncProperty(text, secret, fc.nat(), async (value, key, at) => {
        const header = await signAsGithub(key, value)
        expect(check(value, header, key)).toBe(true)
        const digit = header[7 + (at % 64)] === '0' ? '1' : '0'
        const changed = `${header.slice(0, 7 + (at % 64))}${digit}${header.slice(8 + (at % 64))}`
        const variants: [string, string, string][] = [
          [value, changed, key],
          [`${value}x`, header, key],
          [value, header, `${key}x`],
          [value, header.slice(0, -1), key],
        ]
        for (const [body, signature, other] of variants) {
          expect(check(body, signature, other)).toBe(false)
          expect(await verifyAsGithub(other, body, signature)).toBe(false)
        }
        const [own] = signing[0]!.sign(bytes(value), key, 0)
        expect(await verifyAsGithub(key, value, own![1])).toBe(true)
      }),
    )
  })

  test('stripe', () => {
    const { webhooks } = new Stripe('sk_test_none')
    const now = SECONDS
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1 }),
        fc.stringMatching(/^[A-Za-z0-9]{16,40}$/),
        fc.integer({ min: -400, max: 300 }),
        (note, key, age) => {
          const payload = JSON.stringify({ object: 'event', note })
          const whole = `whsec_${key}`
          const timestamp = now - age
          const header = webhooks.generateTestHeaderString({ payload, secret: whole, timestamp })
          const check = (value: string, signature: string, secret: string) =>
            verifyDelivery(
              { scheme: { provider: 'stripe' }, secrets: secretsOf(secret) },
              toRequest([['Stripe-Signature', signature]], bytes(value)),
              now * 1000,
            ).ok
          const theirs = (value: string, signature: string, secret: string) => {
            try {
              webhooks.constructEvent(value, signature, secret, 300, undefined, now * 1000)
              return true
            } catch {
              return false
            }
          }
          expect(theirs(payload, header, whole)).toBe(true)
          // They take any time that is to come.
          expect(check(payload, header, whole)).toBe(age >= -300)
          const last = header.at(-1) === '0' ? '1' : '0'
          const variants: [string, string, string][] = [
            [`${payload} `, header, whole],
            [payload, `${header.slice(0, -1)}${last}`, whole],
            [payload, header, `${whole}x`],
            [payload, header.replace('v1=', 'v0='), whole],
          ]
          for (const variant of variants) {
            expect(check(...variant)).toBe(false)
            expect(theirs(...variant)).toBe(false)
          }
        },
      ),
    )
    const payload = '{}'
    const header = webhooks.generateTestHeaderString({
      payload,
      secret: 'whsec_x',
      timestamp: now - 301,
    })
    expect(() =>
      webhooks.constructEvent(payload, header, 'whsec_x', 300, undefined, now * 1000),
    ).toThrow('tolerance')
    const request = toRequest([['Stripe-Signature', header]], bytes(payload))
    const trigger = { scheme: { provider: 'stripe' }, secrets: secretsOf('whsec_x') } as const
    expect(verifyDelivery(trigger, request, now * 1000)).toEqual(refused('timestamp_too_old'))
  })

  test('standardwebhooks', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.uint8Array({ minLength: 24, maxLength: 64 }),
        fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/),
        (value, key, id) => {
          const whole = `whsec_${Buffer.from(key).toString('base64')}`
          const webhook = new Webhook(whole)
          // Their clock is the machine's.
          const now = Date.now()
          const at = new Date(Math.floor(now / 1000) * 1000)
          const headers = {
            'webhook-id': id,
            'webhook-timestamp': String(at.getTime() / 1000),
            'webhook-signature': webhook.sign(id, at, value),
          }
          const check = (text: string, given: Record<string, string>) =>
            verifyDelivery(
              { scheme: { provider: 'standard' }, secrets: secretsOf(whole) },
              toRequest(Object.entries(given), bytes(text)),
              now,
            ).ok
          const theirs = (text: string, given: Record<string, string>) => {
            try {
              webhook.verify(text, given, { jsonParse: false })
              return true
            } catch {
              return false
            }
          }
          expect([check(value, headers), theirs(value, headers)]).toEqual([true, true])
          const signature = headers['webhook-signature']
          const wrong = signature[3] === 'A' ? 'B' : 'A'
          const variants: [string, Record<string, string>][] = [
            [`${value}.`, headers],
            [value, { ...headers, 'webhook-id': `${id}x` }],
            [value, { ...headers, 'webhook-timestamp': String(at.getTime() / 1000 - 1) }],
            [value, { ...headers, 'webhook-timestamp': String(at.getTime() / 1000 - 1000) }],
            [value, { ...headers, 'webhook-signature': `v1,${wrong}${signature.slice(4)}` }],
            [value, { ...headers, 'webhook-signature': signature.replace('v1', 'v3') }],
            [value, { ...headers, 'webhook-signature': '' }],
          ]
          for (const variant of variants) {
            expect([check(...variant), theirs(...variant)]).toEqual([false, false])
          }
        },
      ),
    )
  })
})

describe('what is believed for its token', () => {
  const bearer = 'Authorization'
  const cases: [string, WebhookScheme, string, string][] = [
    ['gitlab', { provider: 'gitlab' }, 'X-Gitlab-Token', ''],
    ['token', { provider: 'token', header: 'x-key' }, 'X-Key', ''],
    ['token (bearer)', { provider: 'token', header: 'authorization' }, bearer, 'bEARER '],
    ['cloudevents', { provider: 'cloudevents', allowUnsigned: true }, bearer, 'Bearer '],
    ['alertmanager', { provider: 'alertmanager', allowUnsigned: false }, bearer, 'Bearer '],
  ]

  test.each(cases)('%s', (_, scheme, header, prefix) => {
    const secret = 'schlüssel mit Länge'
    const toHeader = (text: string) => prefix + Buffer.from(text).toString('latin1')
    const trigger = {
      scheme,
      secrets: [{ value: 'gone by now', notAfter: NOW - 1 }, { value: 'x' }, { value: secret }],
    }
    const verify = (...headers: [string, string][]) =>
      verifyDelivery(trigger, toRequest(headers, body), NOW)
    expect(verify([header, toHeader(secret)])).toEqual(ok)
    expect(verify([header, toHeader('x')])).toEqual(ok)
    expect(verify([header, toHeader('gone by now')])).toEqual(refused('secret_expired'))
    for (const wrong of [secret.slice(1), `${secret}x`, secret.toUpperCase(), 'y']) {
      expect(verify([header, toHeader(wrong)])).toEqual(refused('token_mismatch'))
    }
    expect(verify()).toEqual(refused('token_missing'))
    expect(verify([header, ''])).toEqual(refused('token_missing'))
    const doubled = verify([header, toHeader(secret)], [header, toHeader(secret)])
    expect(doubled).toEqual(refused('token_repeated'))
    const none = verifyDelivery(
      { scheme, secrets: trigger.secrets.slice(0, 1) },
      toRequest([[header, toHeader('gone by now')]]),
      NOW,
    )
    expect(none).toEqual(refused('no_secret_valid'))
  })

  test.each(cases.filter(([, , , prefix]) => prefix))(
    '%s, not as a bearer',
    (_, scheme, header) => {
      const trigger = { scheme, secrets: secretsOf('x') }
      for (const odd of ['Basic eA==', 'x', 'Bearer', 'Bearer ', 'Bearerx', 'x Bearer x']) {
        const verified = verifyDelivery(trigger, toRequest([[header, odd]], body), NOW)
        expect(verified).toEqual(refused('token_malformed'))
      }
    },
  )

  test('a CloudEvent may bring it in the query instead, though not in both, nor twice', () => {
    const scheme = { provider: 'cloudevents', allowUnsigned: false } as const
    const verify = (query: string, headers: [string, string][] = []) =>
      verifyDelivery({ scheme, secrets: secretsOf('a+b é') }, toRequest(headers, body, query), NOW)
    const query = 'x=1&access_token=a%2Bb%20%C3%A9'
    expect(verify(query)).toEqual(ok)
    expect(verify('access_token=a')).toEqual(refused('token_mismatch'))
    expect(verify('access_token=')).toEqual(refused('token_missing'))
    expect(verify(`${query}&${query}`)).toEqual(refused('token_repeated'))
    expect(verify(query, [[bearer, 'Bearer x']])).toEqual(refused('token_repeated'))
    const other = { provider: 'alertmanager', allowUnsigned: false } as const
    const request = toRequest([], body, query)
    const verified = verifyDelivery({ scheme: other, secrets: secretsOf('a+b é') }, request, NOW)
    expect(verified).toEqual(refused('token_missing'))
  })

  test('only where the definition says so nothing is asked for', () => {
    const request = toRequest([], body)
    const verify = (scheme: WebhookScheme) => verifyDelivery({ scheme, secrets: [] }, request, NOW)
    expect(verify({ provider: 'none' })).toEqual(ok)
    expect(verify({ provider: 'cloudevents', allowUnsigned: true })).toEqual(ok)
    const unsigned = verify({ provider: 'alertmanager', allowUnsigned: false })
    expect(unsigned).toEqual(refused('no_secret_valid'))
  })
})

test("while a signing token takes a token's place, GitLab may do either", () => {
  const { scheme, secret, other, sign } = signing.find(({ name }) => name === 'gitlab')!
  const signed = sign(body, secret, SECONDS)
  const token: [string, string] = ['X-Gitlab-Token', 'a plain token of GitLab']
  const verify = (headers: [string, string][], ...values: string[]) =>
    verifyDelivery({ scheme, secrets: secretsOf(...values) }, toRequest(headers, body), NOW)
  const both = [secret, token[1]]
  const given = signed.map(([name, value]): [string, string] => [name, value])
  expect(verify(given, ...both)).toEqual(ok)
  expect(verify([token], ...both)).toEqual(ok)
  expect(verify([...given, token], ...both)).toEqual(ok)
  expect(verify([token], secret)).toEqual(refused('signature_missing'))
  expect(verify([['X-Gitlab-Token', secret]], secret)).toEqual(refused('signature_missing'))
  expect(verify([['X-Gitlab-Token', secret]], ...both)).toEqual(refused('token_mismatch'))
  expect(verify(given, other, token[1])).toEqual(refused('signature_mismatch'))
  expect(verify([], ...both)).toEqual(refused('token_missing'))
})
