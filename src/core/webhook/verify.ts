import type { WebhookScheme, WebhookSecret, WebhookTrigger } from '../trigger.ts'
import type { Claim } from './claim.ts'
import { isSameToken, isSignedBy } from './mac.ts'
import type { RefusalReason, Verified } from './refusal.ts'
import { refused } from './refusal.ts'
import type { HookRequest } from './request.ts'
import type { SigningScheme } from './scheme.ts'
import { findSigningScheme } from './scheme.ts'
import { isSigningSecret } from './secret.ts'
import { delimitersOf, hasPlace } from './template.ts'
import { checkFreshness, parseTimestamp } from './timestamp.ts'

export type { RefusalReason, Verified } from './refusal.ts'

/** The longest that a header with a signature, an id or a token may be: a longer one was not made by any of the providers. */
const MAX_HEADER = 4096
const MAX_ID = 256

/**
 * Whether one of the trigger's secrets stands behind a delivery. `now` is in milliseconds since the epoch.
 *
 * Each secret is tried, whichever matches, and compared in constant time. A header that counts must be there once. Where the scheme has a time, it must be within
 * 300 seconds of `now`. A secret counts up to its `notAfter`, and an empty one never.
 */
export function verifyDelivery(
  trigger: Pick<WebhookTrigger, 'scheme' | 'secrets'>,
  request: HookRequest,
  now: number,
): Verified {
  const { scheme, secrets } = trigger
  if (scheme.provider === 'none') return { ok: true }
  if ('allowUnsigned' in scheme && scheme.allowUnsigned && secrets.length === 0) return { ok: true }
  const usable = secrets.filter(({ value }) => value !== '')
  if (!usable.some((secret) => isLive(secret, now))) return refused('no_secret_valid')
  const signing = findSigningScheme(scheme)
  if (scheme.provider === 'gitlab') return verifyGitlab(scheme, signing!, usable, request, now)
  return signing
    ? verifySignature(signing, usable, request, now)
    : verifyToken(scheme, usable, request, now)
}

/** By whichever its secrets are for: while one kind takes the other's place, both may be. */
function verifyGitlab(
  scheme: WebhookScheme,
  signing: SigningScheme,
  secrets: readonly WebhookSecret[],
  request: HookRequest,
  now: number,
): Verified {
  const keys = secrets.filter(({ value }) => isSigningSecret(value))
  const tokens = secrets.filter(({ value }) => !isSigningSecret(value))
  const bySignature = keys.length > 0 && verifySignature(signing, keys, request, now)
  const byToken = tokens.length > 0 && verifyToken(scheme, tokens, request, now)
  if (bySignature === false) return byToken || refused('no_secret_valid')
  if (byToken === false || bySignature.ok) return bySignature
  return byToken.ok || bySignature.reason === 'signature_missing' ? byToken : bySignature
}

function verifySignature(
  signing: SigningScheme,
  secrets: readonly WebhookSecret[],
  { headers, body }: HookRequest,
  now: number,
): Verified {
  const name = signing.headers.find((each) => headers.has(each))
  if (name === undefined) {
    const isWeak = signing.weakHeader !== undefined && headers.has(signing.weakHeader)
    return refused(isWeak ? 'algorithm_unsupported' : 'signature_missing')
  }
  const text = readOnce(headers.get(name), 'signature')
  if (typeof text === 'string') return refused(text)
  const claim = signing.read(text.value)
  if (typeof claim === 'string') return refused(claim)
  const timestamp = readTimestamp(signing, claim, headers, now)
  if (typeof timestamp === 'string') return refused(timestamp)
  const id = readId(signing, headers)
  if (typeof id === 'string') return refused(id)
  const parts = toSigned(signing, { timestamp: timestamp.value, id: id.value, body })
  // Nothing of the body would be signed.
  if (!parts.includes(body)) return refused('algorithm_unsupported')
  const kinds = new Set(claim.signatures.map(({ kind }) => kind))
  const keyed = secrets.map((secret) => ({ secret, key: signing.toKey(secret.value) }))
  if (!keyed.some(({ key }) => key && kinds.has(key.kind))) return refused('algorithm_unsupported')
  const matching = keyed.filter(({ key }) => {
    const signatures = claim.signatures.filter(({ kind }) => kind === key?.kind)
    const bytes = signatures.map((signature) => signature.bytes)
    return key !== undefined && isSignedBy(key, signing.algorithm, parts, bytes)
  })
  return decide(
    matching.map(({ secret }) => secret),
    now,
    'signature_mismatch',
  )
}

function verifyToken(
  scheme: WebhookScheme,
  secrets: readonly WebhookSecret[],
  { headers, query }: HookRequest,
  now: number,
): Verified {
  const name = tokenHeaderOf(scheme)
  // https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md, section 3.2
  const inQuery = scheme.provider === 'cloudevents' ? query.getAll('access_token') : []
  const inHeader = headers.get(name)
  if (inHeader && inQuery.length > 0) return refused('token_repeated')
  const text = readOnce(inHeader ?? inQuery, 'token')
  if (typeof text === 'string') return refused(text)
  const isBearer = inHeader !== undefined && name === 'authorization'
  const token = isBearer ? /^bearer +([^ ].*)$/i.exec(text.value)?.[1] : text.value
  if (token === undefined) return refused('token_malformed')
  // A header's characters are its bytes; a query is decoded already.
  const bytes = Buffer.from(token, inHeader ? 'latin1' : 'utf8')
  const matching = secrets.filter(({ value }) => isSameToken(bytes, Buffer.from(value)))
  return decide(matching, now, 'token_mismatch')
}

function tokenHeaderOf(scheme: WebhookScheme): string {
  if (scheme.provider === 'token') return scheme.header
  return scheme.provider === 'gitlab' ? 'x-gitlab-token' : 'authorization'
}

function decide(
  matching: readonly WebhookSecret[],
  now: number,
  otherwise: RefusalReason,
): Verified {
  if (matching.some((secret) => isLive(secret, now))) return { ok: true }
  return refused(matching.length > 0 ? 'secret_expired' : otherwise)
}

function isLive({ notAfter = Infinity }: WebhookSecret, now: number): boolean {
  return now <= notAfter
}

type Read = { readonly value: string } | RefusalReason

function readOnce(
  values: readonly string[] | undefined,
  what: 'signature' | 'timestamp' | 'id' | 'token',
): Read {
  const [value] = values ?? []
  if (value === undefined || value === '') return `${what}_missing`
  if (values!.length > 1) return `${what}_repeated`
  return value.length > MAX_HEADER ? `${what}_malformed` : { value }
}

function readTimestamp(
  { timestamp, template }: SigningScheme,
  claim: Claim,
  headers: HookRequest['headers'],
  now: number,
): Read {
  if (!timestamp && claim.timestamp === undefined) {
    return hasPlace(template, 'timestamp') ? 'timestamp_missing' : { value: '' }
  }
  const values = timestamp ? headers.get(timestamp.header) : [claim.timestamp!]
  const text = readOnce(values, 'timestamp')
  if (typeof text === 'string') return text
  const at = parseTimestamp(text.value, timestamp?.unit ?? 's')
  if (at === undefined) return 'timestamp_malformed'
  return checkFreshness(at, now) ?? text
}

/** An id that is signed is of visible ASCII, and without what delimits it. */
function readId({ idHeader, template }: SigningScheme, headers: HookRequest['headers']): Read {
  if (!hasPlace(template, 'id')) return { value: '' }
  const text = readOnce(idHeader === undefined ? undefined : headers.get(idHeader), 'id')
  if (typeof text === 'string') return text
  const delimiters = delimitersOf(template)
  const isPlain = /^[!-~]+$/.test(text.value) && text.value.length <= MAX_ID
  const holdsDelimiter = Array.from(text.value).some((each) => delimiters.includes(each))
  return isPlain && !holdsDelimiter ? text : 'id_malformed'
}

function toSigned(
  { template }: SigningScheme,
  places: { readonly timestamp: string; readonly id: string; readonly body: Uint8Array },
): Uint8Array[] {
  return template.map((part) => {
    if ('literal' in part) return Buffer.from(part.literal)
    const value = places[part.place]
    return typeof value === 'string' ? Buffer.from(value) : value
  })
}
