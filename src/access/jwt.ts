import type { JWTPayload, JWTVerifyGetKey, JWTVerifyOptions } from 'jose'
import { errors, jwtVerify } from 'jose'
import type { Caller, Scope } from '../core/access.ts'
import { isScope } from '../core/access.ts'
import { OneshotError } from '../core/error.ts'
import type { RefusalReason } from '../core/unauthorized.ts'
import { Unauthorized } from '../core/unauthorized.ts'
import { toHash } from './key.ts'

export type Algorithm = 'HS256' | 'EdDSA' | 'ES256' | 'RS256'

/** Absent is allowed (RFC 7519, 5.1), and so is an access token (RFC 9068, 2.1). A logout token, say, is not one to call with. */
const TYPES = /^(?:application\/)?(?:jwt|at\+jwt)$/i
const MAX_NAME = 100
/** Of the hash of a name that can't be shown as it is. */
const HASH_DIGITS = 16
const NAME_WITH_HASH = /#[0-9a-f]{16}$/

export interface TokensOptions {
  readonly key: JWTVerifyGetKey
  /** That may sign; none else does, whatever a token's head says. */
  readonly algorithms: readonly Algorithm[]
  readonly audience?: string | undefined
  readonly issuer?: string | undefined
  readonly toleranceMs: number
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

export interface Tokens {
  /** Whose token it is. Rejects with `Unauthorized`, or with `keys_unavailable`. */
  identify(token: string): Promise<Caller>
}

/** Checks JSON Web Tokens (RFC 7519, RFC 8725). One without an expiry is refused. */
export function createTokens(options: TokensOptions): Tokens {
  const { key, algorithms, audience, issuer, toleranceMs, clock } = options
  const checks: JWTVerifyOptions = {
    // RFC 9864 names the curve.
    algorithms: algorithms.flatMap((name) => (name === 'EdDSA' ? [name, 'Ed25519'] : [name])),
    clockTolerance: toleranceMs / 1000,
    requiredClaims: ['exp'],
    ...(audience !== undefined && { audience }),
    ...(issuer !== undefined && { issuer }),
  }
  return {
    async identify(token) {
      try {
        const currentDate = new Date(clock())
        const { payload, protectedHeader } = await jwtVerify(token, key, { ...checks, currentDate })
        const { typ } = protectedHeader
        if (typ !== undefined && !TYPES.test(typ)) throw new Unauthorized('type_wrong')
        return { kind: 'token', name: toName(payload), scopes: toScopes(payload) }
      } catch (error) {
        if (error instanceof OneshotError) throw error
        throw new Unauthorized(toReason(error), { cause: error })
      }
    },
  }
}

function toReason(error: unknown): RefusalReason {
  if (!(error instanceof errors.JOSEError)) return 'token_malformed'
  if (error instanceof errors.JWTExpired) return 'token_expired'
  if (error instanceof errors.JWTClaimValidationFailed) return toClaimReason(error)
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm_not_allowed'
  if (error instanceof errors.JWKSNoMatchingKey) return 'key_id_unknown'
  if (error instanceof errors.JWKSMultipleMatchingKeys) return 'key_ambiguous'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature_wrong'
  return 'token_malformed'
}

function toClaimReason({ claim }: errors.JWTClaimValidationFailed): RefusalReason {
  switch (claim) {
    case 'nbf':
      return 'token_not_yet_valid'
    case 'iss':
      return 'issuer_wrong'
    case 'aud':
      return 'audience_wrong'
    case 'exp':
      return 'expiry_missing'
    default:
      return 'claims_wrong'
  }
}

/** `scope` (RFC 8693, 4.2), or `scp`, as some issuers have it. What is no scope of ours is meant for others. */
function toScopes({ scope, scp }: JWTPayload): Scope[] {
  const given = [scope, scp].flatMap((claim) => (Array.isArray(claim) ? claim : toWords(claim)))
  return [...new Set(given.filter((word) => typeof word === 'string').filter(isScope))]
}

function toWords(claim: unknown): string[] {
  return typeof claim === 'string' ? claim.split(' ') : []
}

/** That a log, a terminal and an answer can show. Two subjects never have the same: rates and Idempotency-Keys go by it. */
function toName({ sub, client_id: client }: JWTPayload): string {
  const names = [sub, client].filter((claim) => typeof claim === 'string')
  const given = names.find((each) => each !== '') ?? 'unnamed'
  const shown = Array.from(given.replaceAll(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?'))
  const name = shown.slice(0, MAX_NAME).join('')
  const isPlain = name === given && !NAME_WITH_HASH.test(name)
  return isPlain ? name : `${name}#${toHash(given).slice(0, HASH_DIGITS)}`
}
