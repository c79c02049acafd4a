import type { WebhookScheme } from '../trigger.ts'
import type { HookHeaders } from './request.ts'
import { toHeaderText } from './request.ts'
import { findSigningScheme } from './scheme.ts'

const MAX_HEADERS = 64
const MAX_NAME = 100
const MAX_VALUE = 1000

/** Headers in which something may stand by which another request would be believed. */
const secretNames =
  /auth|token|secret|signature|hmac|hash|cookie|passw|credential|api-?key|session|jwt|(?:^|-)(?:key|sig|sign|code)(?:-|$)/
const plainNames = new Set(['idempotency-key'])
/** As of a proxy that tells of the URL: a token may stand in its query. */
const secretValues = /(?:token|secret|signature|passw\w*|key|auth\w*)=|\b(?:bearer|basic) /i

/**
 * What of a delivery's headers is put on record: without signatures, tokens, cookies and whatever else could be a secret. Of several values all, behind one
 * another; at most 64 headers, each cut after 1000 characters.
 */
export function redactHeaders(
  headers: HookHeaders,
  scheme: WebhookScheme,
): Readonly<Record<string, string>> {
  const signing = findSigningScheme(scheme)
  const own = new Set(signing?.headers)
  if (signing?.weakHeader !== undefined) own.add(signing.weakHeader)
  if (scheme.provider === 'token') own.add(scheme.header)
  const kept: [string, string][] = []
  for (const [name, values] of headers) {
    if (kept.length === MAX_HEADERS) break
    const isSecret = own.has(name) || (secretNames.test(name) && !plainNames.has(name))
    const value = values.join(', ').slice(0, MAX_VALUE)
    if (isSecret || name.length > MAX_NAME || secretValues.test(value)) continue
    kept.push([name, toHeaderText(value)])
  }
  return Object.fromEntries(kept)
}

/** What `redactHeaders` left, to be read again. */
export function fromRecordedHeaders(headers: Readonly<Record<string, string>>): HookHeaders {
  return new Map(
    Object.entries(headers).map(([name, value]) => [name, [Buffer.from(value).toString('latin1')]]),
  )
}
