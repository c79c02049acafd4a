import { createHmac } from 'node:crypto'

/** What a receiver checks: Standard Webhooks 1.0, https://www.standardwebhooks.com. */
export interface SignatureHeaders {
  readonly 'webhook-id': string
  readonly 'webhook-timestamp': string
  readonly 'webhook-signature': string
}

export interface Signing {
  /** The same for each attempt; made by us, and without a `.`, which delimits what is signed. */
  readonly id: string
  /** When this attempt is made, in milliseconds since the epoch. */
  readonly at: number
  /** Of `parseSecret`. While a secret is being replaced: the new one and the old one. */
  readonly secrets: readonly Uint8Array[]
}

const PREFIX = 'whsec_'
const MIN_BYTES = 24
const MAX_BYTES = 64

/** The key in `whsec_BASE64`, of 24 to 64 bytes. Undefined for anything else: base64 must be as RFC 4648 writes it. */
export function parseSecret(text: string): Uint8Array | undefined {
  if (!text.startsWith(PREFIX)) return undefined
  const encoded = text.slice(PREFIX.length)
  const key = Buffer.from(encoded, 'base64')
  // Buffer skips what is no base64.
  if (key.toString('base64') !== encoded) return undefined
  return key.length >= MIN_BYTES && key.length <= MAX_BYTES ? key : undefined
}

/** Signs a body that it is given piece by piece, with each secret (symmetric: `v1`, HMAC-SHA256). */
export interface Signer {
  /** Takes the next of exactly the bytes that are sent. */
  update(bytes: Uint8Array): void
  /** To be asked for once, when it has all of them. */
  toHeaders(): SignatureHeaders
}

export function createSigner({ id, at, secrets }: Signing): Signer {
  const timestamp = String(Math.floor(at / 1000))
  const hmacs = secrets.map((secret) => createHmac('sha256', secret).update(`${id}.${timestamp}.`))
  return {
    update(bytes) {
      for (const hmac of hmacs) hmac.update(bytes)
    },
    toHeaders: () => ({
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': hmacs.map((hmac) => `v1,${hmac.digest('base64')}`).join(' '),
    }),
  }
}
