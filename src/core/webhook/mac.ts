import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto'

export type MacAlgorithm = 'sha1' | 'sha256' | 'sha384' | 'sha512'

/** What a secret is used as. */
export type VerificationKey =
  | { readonly kind: 'hmac'; readonly bytes: Uint8Array }
  /** A public key of 32 bytes, RFC 8032. */
  | { readonly kind: 'ed25519'; readonly bytes: Uint8Array }

export const digestBytes: Readonly<Record<MacAlgorithm, number>> = {
  sha1: 20,
  sha256: 32,
  sha384: 48,
  sha512: 64,
}

/** Whether one of `signatures` is what `key` makes of the parts. All are looked at, each in constant time, and what is computed stays here. */
export function isSignedBy(
  key: VerificationKey,
  algorithm: MacAlgorithm,
  parts: readonly Uint8Array[],
  signatures: readonly Uint8Array[],
): boolean {
  const matches =
    key.kind === 'hmac'
      ? hmacMatcher(key.bytes, algorithm, parts)
      : ed25519Matcher(key.bytes, parts)
  let found = false
  for (const signature of signatures) {
    const same = matches(signature)
    found = found || same
  }
  return found
}

function hmacMatcher(key: Uint8Array, algorithm: MacAlgorithm, parts: readonly Uint8Array[]) {
  const hmac = createHmac(algorithm, key)
  for (const part of parts) hmac.update(part)
  const right = hmac.digest()
  return (signature: Uint8Array) =>
    signature.length === right.length && timingSafeEqual(signature, right)
}

function ed25519Matcher(bytes: Uint8Array, parts: readonly Uint8Array[]) {
  const message = Buffer.concat(parts)
  const x = Buffer.from(bytes).toString('base64url')
  try {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    return (signature: Uint8Array) => verify(null, message, key, signature)
  } catch {
    // Bytes that are no key.
    return () => false
  }
}

/** In constant time, also for texts of different lengths. */
export function isSameToken(given: Uint8Array, secret: Uint8Array): boolean {
  return timingSafeEqual(hash([given]), hash([secret]))
}

/** In hex: the SHA-256 of the parts, each told apart from the next. */
export function toDigest(parts: readonly (string | Uint8Array)[]): string {
  return hash(parts.flatMap((part) => [`${Buffer.byteLength(part)}:`, part])).toString('hex')
}

function hash(parts: readonly (string | Uint8Array)[]): Buffer {
  const sha256 = createHash('sha256')
  for (const part of parts) sha256.update(part)
  return sha256.digest()
}
