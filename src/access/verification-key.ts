import { createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { JSONWebKeySet, JWK, JWTVerifyGetKey } from 'jose'
import { createLocalJWKSet, importJWK } from 'jose'
import type { Algorithm } from './jwt.ts'
import { AccessProblem, unreadable } from './problem.ts'

const MIN_SECRET_BYTES = 32
const MIN_RSA_BITS = 2048

/** What checks tokens, and which algorithms it is for. */
export interface VerificationKey {
  readonly key: JWTVerifyGetKey
  readonly algorithms: readonly Algorithm[]
}

/** A secret that is shared with whoever makes tokens. Rejects with `AccessProblem`. */
export async function readSharedSecret(file: string): Promise<VerificationKey> {
  const bytes = await read(file)
  // Of a line that an editor or echo has ended.
  const secret = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes
  if (secret.length < MIN_SECRET_BYTES) {
    throw new AccessProblem(
      `${file}: a secret of at least ${MIN_SECRET_BYTES} bytes is needed, such as openssl rand -hex 32 makes`,
    )
  }
  if (/^-----BEGIN [\w ]*KEY-----/m.test(secret.toString('latin1'))) {
    throw new AccessProblem(
      `${file}: is a key in PEM, not a secret: a public one belongs into ONESHOT_JWT_PUBLIC_KEY_FILE`,
    )
  }
  return { key: () => secret, algorithms: ['HS256'] }
}

/** A public key in PEM, or as a JWK or a JWKS (RFC 7517). Rejects with `AccessProblem`. */
export async function readPublicKey(file: string): Promise<VerificationKey> {
  const text = (await read(file)).toString('utf8').trim()
  if (text.startsWith('{')) return toKeySet(file, text)
  if (text.includes('PRIVATE KEY')) throw isPrivate(file)
  const key = toKeyObject(file, text)
  const algorithm = toAlgorithm(key)
  if (!algorithm) throw unfit(file)
  return { key: () => key, algorithms: [algorithm] }
}

async function toKeySet(file: string, text: string): Promise<VerificationKey> {
  const keys = parseKeySet(file, text)
  const algorithms = await Promise.all(
    keys.map(async (jwk) => {
      if ('d' in jwk || 'k' in jwk) throw isPrivate(file)
      const algorithm = toAlgorithm(toKeyObject(file, { key: jwk, format: 'jwk' }))
      if (!algorithm) throw unfit(file)
      await importJWK(jwk, algorithm)
      return algorithm
    }),
  )
  return { key: createLocalJWKSet({ keys }), algorithms: [...new Set(algorithms)] }
}

function parseKeySet(file: string, text: string): JWK[] {
  try {
    const json = JSON.parse(text) as JWK | JSONWebKeySet
    const keys = 'keys' in json ? json.keys : [json]
    const isList = Array.isArray(keys) && keys.length > 0
    if (isList && keys.every((key) => typeof key === 'object' && key !== null)) return keys
  } catch {
    // As below.
  }
  throw new AccessProblem(`${file}: is no JWK or JWKS`)
}

function toKeyObject(
  file: string,
  key: string | { readonly key: JWK; readonly format: 'jwk' },
): KeyObject {
  try {
    return createPublicKey(key)
  } catch (error) {
    throw new AccessProblem(`${file}: is no public key in PEM, JWK or JWKS`, { cause: error })
  }
}

function toAlgorithm({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): Algorithm | undefined {
  if (type === 'ed25519') return 'EdDSA'
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256'
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS) return 'RS256'
  return undefined
}

function isPrivate(file: string): AccessProblem {
  return new AccessProblem(
    `${file}: holds a private key or a secret: give the gateway the public key alone`,
  )
}

function unfit(file: string): AccessProblem {
  return new AccessProblem(
    `${file}: must be an Ed25519 key, an EC key on P-256, or an RSA key of at least ${MIN_RSA_BITS} bits`,
  )
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw unreadable(file, error)
  }
}
