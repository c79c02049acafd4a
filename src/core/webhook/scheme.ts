import { parseSecret } from '../signature.ts'
import type { HmacScheme, WebhookScheme } from '../trigger.ts'
import type { Claim } from './claim.ts'
import { readSingle, readStandard, readStripe } from './claim.ts'
import { decodeSignature } from './encoding.ts'
import type { MacAlgorithm, VerificationKey } from './mac.ts'
import { digestBytes } from './mac.ts'
import type { RefusalReason } from './refusal.ts'
import type { TemplatePart } from './template.ts'
import { parseTemplate } from './template.ts'
import type { TimestampUnit } from './timestamp.ts'

/** How a provider signs. */
export interface SigningScheme {
  /** Where the signature stands. Of several the first one that is there counts. */
  readonly headers: readonly string[]
  /** One of a kind that is not taken. */
  readonly weakHeader?: string
  readonly read: (text: string) => Claim | RefusalReason
  readonly algorithm: MacAlgorithm
  readonly template: readonly TemplatePart[]
  /** Absent: the signature's header may hold it, in seconds. */
  readonly timestamp?: { readonly header: string; readonly unit: TimestampUnit }
  readonly idHeader?: string
  readonly toKey: (secret: string) => VerificationKey | undefined
}

type SigningProvider = 'github' | 'gitea' | 'stripe' | 'slack' | 'standard'

/** https://www.standardwebhooks.com: `whsec_` for HMAC, `whpk_` for Ed25519. */
const standard: SigningScheme = {
  headers: ['webhook-signature'],
  read: readStandard,
  algorithm: 'sha256',
  template: parseTemplate('{id}.{timestamp}.{body}')!,
  timestamp: { header: 'webhook-timestamp', unit: 's' },
  idHeader: 'webhook-id',
  toKey: toStandardKey,
}

const providers: Readonly<Record<SigningProvider, SigningScheme>> = {
  // https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
  github: {
    headers: ['x-hub-signature-256'],
    weakHeader: 'x-hub-signature',
    read: (text) => readSingle(text, 'sha256=', 'hex', 32),
    algorithm: 'sha256',
    template: parseTemplate('{body}')!,
    toKey: toTextKey,
  },
  // https://docs.gitea.com/usage/webhooks; Forgejo sends its own header too.
  gitea: {
    headers: ['x-gitea-signature', 'x-forgejo-signature'],
    weakHeader: 'x-hub-signature',
    read: (text) => readSingle(text, '', 'hex', 32),
    algorithm: 'sha256',
    template: parseTemplate('{body}')!,
    toKey: toTextKey,
  },
  // https://docs.stripe.com/webhooks/signature: all of `whsec_…` is the key, as text.
  stripe: {
    headers: ['stripe-signature'],
    read: readStripe,
    algorithm: 'sha256',
    template: parseTemplate('{timestamp}.{body}')!,
    toKey: toTextKey,
  },
  // https://docs.slack.dev/authentication/verifying-requests-from-slack
  slack: {
    headers: ['x-slack-signature'],
    read: (text) => readSingle(text, 'v0=', 'hex', 32),
    algorithm: 'sha256',
    template: parseTemplate('v0:{timestamp}:{body}')!,
    timestamp: { header: 'x-slack-request-timestamp', unit: 's' },
    toKey: toTextKey,
  },
  standard,
}

/** Undefined for a provider that does not sign. GitLab signs as Standard Webhooks do, if it has a signing token; else it sends its secret. */
export function findSigningScheme(scheme: WebhookScheme): SigningScheme | undefined {
  switch (scheme.provider) {
    case 'github':
    case 'gitea':
    case 'stripe':
    case 'slack':
    case 'standard':
      return providers[scheme.provider]
    case 'gitlab':
      return standard
    case 'hmac':
      return fromHmac(scheme)
    case 'token':
    case 'cloudevents':
    case 'alertmanager':
    case 'none':
      return undefined
  }
}

function fromHmac(scheme: HmacScheme): SigningScheme {
  const { header, algorithm, encoding, prefix, timestamp, id } = scheme
  return {
    headers: [header],
    read: (text) => readSingle(text, prefix, encoding, digestBytes[algorithm]),
    algorithm,
    // What is no template signs nothing: without a body in it, no body can be believed.
    template: parseTemplate(scheme.template) ?? [],
    ...(timestamp && { timestamp }),
    ...(id && 'header' in id && { idHeader: id.header }),
    toKey: toTextKey,
  }
}

function toTextKey(secret: string): VerificationKey | undefined {
  return secret === '' ? undefined : { kind: 'hmac', bytes: Buffer.from(secret) }
}

const PUBLIC_PREFIX = 'whpk_'

function toStandardKey(secret: string): VerificationKey | undefined {
  const symmetric = parseSecret(secret)
  if (symmetric) return { kind: 'hmac', bytes: symmetric }
  if (!secret.startsWith(PUBLIC_PREFIX)) return undefined
  const bytes = decodeSignature(secret.slice(PUBLIC_PREFIX.length), 'base64')
  return bytes?.length === 32 ? { kind: 'ed25519', bytes } : undefined
}
