import type { JWTVerifyGetKey } from 'jose'
import { createRemoteJWKSet, customFetch, errors } from 'jose'
import { isTrustworthy } from '../core/address.ts'
import { OneshotError } from '../core/error.ts'

const TIMEOUT_MS = 5000
/** How long keys are used before they are fetched anew. */
const KEPT_MS = 10 * 60 * 1000
/** How soon an unknown key id has them fetched again: whoever makes such ids up can't have them fetched more often. */
const COOLDOWN_MS = 30_000
/** How long after a failure no other try is made. */
const RETRY_MS = 5000
const MAX_BYTES = 1024 * 1024

export interface RemoteKeysOptions {
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** Of every failure to fetch them. */
  readonly onTrouble: (error: Error) => void
  readonly cooldownMs?: number
  readonly keptMs?: number
}

/** The keys of a JWKS URL: fetched when the first token comes, kept, and fetched again for a key id that is new. */
export function fetchKeys(url: URL, options: RemoteKeysOptions): JWTVerifyGetKey {
  const { cooldownMs = COOLDOWN_MS, keptMs = KEPT_MS } = options
  const keys = createRemoteJWKSet(url, {
    timeoutDuration: TIMEOUT_MS,
    cooldownDuration: cooldownMs,
    cacheMaxAge: keptMs,
    [customFetch]: createFetch(options),
  })
  return async (header, token) => {
    try {
      return await keys(header, token)
    } catch (error) {
      if (error instanceof errors.JWKSInvalid) throw unavailable(url, error)
      throw error
    }
  }
}

/** The keys of an issuer of OpenID Connect: its metadata says where (OpenID Connect Discovery 1.0, section 4). */
export function discoverKeys(issuer: string, options: RemoteKeysOptions): JWTVerifyGetKey {
  const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
  const get = createFetch(options)
  let discovering: Promise<JWTVerifyGetKey> | undefined

  async function discover(): Promise<JWTVerifyGetKey> {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    const answer = await get(url.href, { headers: new Headers(), signal })
    const metadata = (await answer.json()) as { issuer?: unknown; jwks_uri?: unknown } | null
    const keysUrl = URL.parse(String(metadata?.jwks_uri))
    // Section 4.3: the issuer it names must be the one that was asked for.
    if (metadata?.issuer !== issuer || !keysUrl || !isTrustworthy(keysUrl)) {
      throw unavailable(url, new Error('its issuer or jwks_uri is not what it should be'))
    }
    return fetchKeys(keysUrl, options)
  }

  return async (header, token) => {
    discovering ??= discover().catch((error: unknown) => {
      discovering = undefined
      throw error
    })
    return (await discovering)(header, token)
  }
}

/** One answer of JSON, whole and bounded. Throws `keys_unavailable`. */
function createFetch({ clock, onTrouble }: RemoteKeysOptions) {
  let failed: { readonly at: number; readonly error: OneshotError } | undefined

  return async (
    href: string,
    { headers, signal }: { readonly headers: Headers; readonly signal: AbortSignal },
  ): Promise<Response> => {
    if (failed && clock() - failed.at < RETRY_MS) throw failed.error
    try {
      const response = await fetch(href, { headers, signal, redirect: 'error' })
      if (response.status !== 200) throw new Error(`${href} answered ${response.status}`)
      const text = await readBounded(response)
      JSON.parse(text)
      failed = undefined
      return new Response(text)
    } catch (cause) {
      const error = unavailable(new URL(href), cause)
      failed = { at: clock(), error }
      onTrouble(error)
      throw error
    }
  }
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error(`${response.url} is longer than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function unavailable({ host }: URL, cause: unknown): OneshotError {
  const detail = `The keys that tokens are checked with can't be had of ${host}: try again later.`
  return new OneshotError('keys_unavailable', detail, {
    cause,
    retryAfterSeconds: RETRY_MS / 1000,
  })
}
