import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import type { WebhookScheme } from '../../../src/core/trigger.ts'
import type { HookRequest } from '../../../src/core/webhook/request.ts'
import { toHookHeaders } from '../../../src/core/webhook/request.ts'

/** 12:34:56.789 on a day. */
export const NOW = Date.UTC(2026, 10, 20, 12, 34, 56, 789)
export const SECONDS = Math.floor(NOW / 1000)

type RawHeader = readonly [string, string]

export interface Case {
  readonly name: string
  readonly scheme: WebhookScheme
  readonly secret: string
  readonly other: string
  /** Signs as the provider's documentation says; `at` is in seconds. */
  readonly sign: (body: Uint8Array, secret: string, at: number) => RawHeader[]
  readonly signatureHeader: string
  readonly timestampHeader?: string
  readonly idHeader?: string
  /** How a time of its own is written into the headers. */
  readonly stamp?: (headers: readonly RawHeader[], time: string) => RawHeader[]
  /** The MAC in `encoding`, cut out of the signature's header. */
  readonly macOf: (header: string) => Buffer
}

export function toRequest(
  headers: readonly RawHeader[],
  body: Uint8Array = new Uint8Array(),
  query = '',
): HookRequest {
  return { headers: toHookHeaders(headers.flat()), query: new URLSearchParams(query), body }
}

const mac = (secret: string | Uint8Array, parts: (string | Uint8Array)[], algorithm = 'sha256') => {
  const hmac = createHmac(algorithm, secret)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}

const replaced = (name: string) => (headers: readonly RawHeader[], time: string) =>
  headers.map(([each, value]): RawHeader => [each, each === name ? time : value])

const hexAfter = (prefix: string) => (header: string) =>
  Buffer.from(header.slice(prefix.length), 'hex')

const text = 'a secret of some length'
const otherText = 'another secret of length'
const standardSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const otherStandardSecret = `whsec_${Buffer.alloc(32, 8).toString('base64')}`
const standardKey = (secret: string) => Buffer.from(secret.slice(6), 'base64')
const signStandard = (body: Uint8Array, secret: string, at: number): RawHeader[] => [
  ['webhook-id', 'msg_1'],
  ['webhook-timestamp', String(at)],
  [
    'webhook-signature',
    `v1,${mac(standardKey(secret), [`msg_1.${at}.`, body]).toString('base64')}`,
  ],
]

const pair = generateKeyPairSync('ed25519')
const otherPair = generateKeyPairSync('ed25519')
const toPublic = ({ publicKey }: typeof pair) =>
  `whpk_${Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url').toString('base64')}`

const bodyOnly = (name: string, header: string): Case => ({
  name,
  scheme: { provider: name as 'github' },
  secret: text,
  other: otherText,
  sign: (body, secret) => [
    [header, `${name === 'github' ? 'sha256=' : ''}${mac(secret, [body]).toString('hex')}`],
  ],
  signatureHeader: header,
  macOf: hexAfter(name === 'github' ? 'sha256=' : ''),
})

/** Those that sign, one way each. */
export const signing: readonly Case[] = [
  bodyOnly('github', 'X-Hub-Signature-256'),
  bodyOnly('gitea', 'X-Gitea-Signature'),
  { ...bodyOnly('gitea', 'X-Forgejo-Signature'), name: 'gitea (of Forgejo)' },
  {
    name: 'stripe',
    scheme: { provider: 'stripe' },
    secret: `whsec_${text}`,
    other: `whsec_${otherText}`,
    sign: (body, secret, at) => [
      ['Stripe-Signature', `t=${at},v1=${mac(secret, [`${at}.`, body]).toString('hex')}`],
    ],
    signatureHeader: 'Stripe-Signature',
    stamp: (headers, time) =>
      headers.map(([name, value]): RawHeader => [name, value.replace(/t=\d+/, `t=${time}`)]),
    macOf: (header) => Buffer.from(header.split('v1=')[1]!, 'hex'),
  },
  {
    name: 'slack',
    scheme: { provider: 'slack' },
    secret: text,
    other: otherText,
    sign: (body, secret, at) => [
      ['X-Slack-Request-Timestamp', String(at)],
      ['X-Slack-Signature', `v0=${mac(secret, [`v0:${at}:`, body]).toString('hex')}`],
    ],
    signatureHeader: 'X-Slack-Signature',
    timestampHeader: 'X-Slack-Request-Timestamp',
    stamp: replaced('X-Slack-Request-Timestamp'),
    macOf: hexAfter('v0='),
  },
  ...(['standard', 'gitlab'] as const).map((provider): Case => ({
    name: provider,
    scheme: { provider },
    secret: standardSecret,
    other: otherStandardSecret,
    sign: signStandard,
    signatureHeader: 'webhook-signature',
    timestampHeader: 'webhook-timestamp',
    idHeader: 'webhook-id',
    stamp: replaced('webhook-timestamp'),
    macOf: (header) => Buffer.from(header.slice(3), 'base64'),
  })),
  {
    name: 'standard (v1a)',
    scheme: { provider: 'standard' },
    secret: toPublic(pair),
    other: toPublic(otherPair),
    sign: (body, secret, at) => {
      const { privateKey } = secret === toPublic(pair) ? pair : otherPair
      const signed = Buffer.concat([Buffer.from(`msg_1.${at}.`), body])
      return [
        ['webhook-id', 'msg_1'],
        ['webhook-timestamp', String(at)],
        ['webhook-signature', `v1a,${sign(null, signed, privateKey).toString('base64')}`],
      ]
    },
    signatureHeader: 'webhook-signature',
    timestampHeader: 'webhook-timestamp',
    idHeader: 'webhook-id',
    stamp: replaced('webhook-timestamp'),
    macOf: (header) => Buffer.from(header.slice(4), 'base64'),
  },
  {
    name: 'hmac (sha512, base64url, milliseconds, id)',
    scheme: {
      provider: 'hmac',
      header: 'x-signed',
      algorithm: 'sha512',
      encoding: 'base64url',
      prefix: 'v9=',
      template: 'v9/{id}/{timestamp}/{body}/end',
      timestamp: { header: 'x-time', unit: 'ms' },
      id: { header: 'x-id' },
    },
    secret: text,
    other: otherText,
    sign: (body, secret, at) => [
      ['x-id', 'one.two'],
      ['x-time', `${at}000`],
      [
        'x-signed',
        `v9=${mac(secret, [`v9/one.two/${at}000/`, body, '/end'], 'sha512').toString('base64url')}`,
      ],
    ],
    signatureHeader: 'x-signed',
    timestampHeader: 'x-time',
    idHeader: 'x-id',
    stamp: (headers, time) => replaced('x-time')(headers, /^\d+$/.test(time) ? `${time}000` : time),
    macOf: (header) => Buffer.from(header.slice(3), 'base64url'),
  },
  {
    name: 'hmac (sha1, base64)',
    scheme: {
      provider: 'hmac',
      header: 'x-signed',
      algorithm: 'sha1',
      encoding: 'base64',
      prefix: '',
      template: '{body}',
    },
    secret: text,
    other: otherText,
    sign: (body, secret) => [['x-signed', mac(secret, [body], 'sha1').toString('base64')]],
    signatureHeader: 'x-signed',
    macOf: (header) => Buffer.from(header, 'base64'),
  },
]
