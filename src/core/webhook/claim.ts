import type { SignatureEncoding } from './encoding.ts'
import { decodeSignature } from './encoding.ts'
import type { VerificationKey } from './mac.ts'
import type { RefusalReason } from './refusal.ts'

/** What a signature header says, none of it believed yet. */
export interface Claim {
  readonly signatures: readonly ClaimedSignature[]
  /** If it stands in the same header. */
  readonly timestamp?: string
}

export interface ClaimedSignature {
  readonly kind: VerificationKey['kind']
  readonly bytes: Uint8Array
}

type ReadClaim = Claim | RefusalReason

/** Each has to be computed against all of the body, before it is known who sent it. */
const MAX_SIGNATURES = 8
const ED25519_BYTES = 64

/** One signature behind a prefix, such as `sha256=HEX`. */
export function readSingle(
  text: string,
  prefix: string,
  encoding: SignatureEncoding,
  length: number,
): ReadClaim {
  if (!text.startsWith(prefix)) {
    return /^[\w-]+=[^=]/.test(text) ? 'algorithm_unsupported' : 'signature_malformed'
  }
  const bytes = decodeSignature(text.slice(prefix.length), encoding)
  if (bytes?.length !== length) return 'signature_malformed'
  return { signatures: [{ kind: 'hmac', bytes }] }
}

/** Stripe's `t=TIME,v1=HEX,v0=HEX`: the time once, any number of `v1`, other schemes passed over. https://docs.stripe.com/webhooks/signature */
export function readStripe(text: string): ReadClaim {
  const items = text.split(',').map((item) => /^(\w+)=([\w+/=.-]*)$/.exec(item))
  if (items.some((item) => item === null)) return 'signature_malformed'
  const valuesOf = (name: string) =>
    items.filter((item) => item?.[1] === name).map((item) => item![2]!)
  const timestamps = valuesOf('t')
  if (timestamps.length > 1) return 'timestamp_repeated'
  if (timestamps.length === 0) return 'timestamp_missing'
  const signatures = valuesOf('v1').map((value) => decodeSignature(value, 'hex'))
  return toClaim(
    signatures.map((bytes) => (bytes?.length === 32 ? { kind: 'hmac', bytes } : undefined)),
    timestamps[0],
  )
}

/** Standard Webhooks' list of `v1,BASE64` and `v1a,BASE64`, other versions passed over. */
export function readStandard(text: string): ReadClaim {
  const items = text.split(' ').map((item) => /^(\w+),([\w+/=-]+)$/.exec(item))
  if (items.some((item) => item === null)) return 'signature_malformed'
  const known = items.filter((item) => item![1] === 'v1' || item![1] === 'v1a')
  return toClaim(
    known.map((item): ClaimedSignature | undefined => {
      const isSymmetric = item![1] === 'v1'
      const bytes = decodeSignature(item![2]!, 'base64')
      if (bytes?.length !== (isSymmetric ? 32 : ED25519_BYTES)) return undefined
      return { kind: isSymmetric ? 'hmac' : 'ed25519', bytes }
    }),
  )
}

function toClaim(
  signatures: readonly (ClaimedSignature | undefined)[],
  timestamp?: string,
): ReadClaim {
  if (signatures.length === 0) return 'algorithm_unsupported'
  const read = signatures.filter((signature) => signature !== undefined)
  if (read.length < signatures.length || read.length > MAX_SIGNATURES) return 'signature_malformed'
  return { signatures: read, ...(timestamp !== undefined && { timestamp }) }
}
