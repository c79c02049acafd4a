import type { TargetRules } from '../core/callback-target.ts'
import { checkUrl } from '../core/callback-target.ts'
import { OneshotError } from '../core/error.ts'
import { parsePrefer } from './prefer.ts'

/** What a call's headers ask for. */
export interface CallOptions {
  /** How long the caller waits for the end, in milliseconds; undefined: to the end. */
  readonly waitMs: number | undefined
  /** `Preference-Applied` */
  readonly applied: string | undefined
  readonly key: string | undefined
  readonly labels: readonly string[]
  readonly callbackUrl: string | undefined
}

const MAX_LABELS = 16
const LABEL = /^[\w.:/=-]{1,100}$/
const KEY = /^[\x20-\x7e]{1,255}$/
const BARE_KEY = /^(?!")[\x21-\x7e]{1,255}$/
const MAX_WAIT_SECONDS = 24 * 60 * 60

/** Throws `bad_request` and `callback_refused`. */
export function readCallOptions(
  headers: Headers,
  callbackRules: TargetRules,
  isAsync: boolean,
): CallOptions {
  const { respondAsync, waitSeconds } = parsePrefer(headers.get('Prefer') ?? undefined)
  const isDetached = isAsync || respondAsync
  const seconds = waitSeconds === undefined ? undefined : Math.min(waitSeconds, MAX_WAIT_SECONDS)
  const applied = [
    ...(respondAsync ? ['respond-async'] : []),
    ...(seconds !== undefined ? [`wait=${seconds}`] : []),
  ].join(', ')
  return {
    waitMs: seconds === undefined ? (isDetached ? 0 : undefined) : seconds * 1000,
    applied: applied === '' ? undefined : applied,
    key: readKey(headers.get('Idempotency-Key')),
    labels: readLabels(headers.get('X-Oneshot-Labels')),
    callbackUrl: readCallbackUrl(
      headers.get('X-Oneshot-Callback-Url') ?? headers.get('X-Callback-Url'),
      callbackRules,
    ),
  }
}

/** A string of RFC 9651, or what other servers take: the same without quotes, and then without spaces. */
function readKey(given: string | null): string | undefined {
  if (given === null) return undefined
  const quoted = /^"((?:[^"\\]|\\["\\])*)"$/.exec(given)?.[1]?.replaceAll(/\\(.)/g, '$1')
  if (quoted === undefined ? BARE_KEY.test(given) : KEY.test(quoted)) return quoted ?? given
  const detail =
    'Idempotency-Key must be one of 1 to 255 ASCII characters, in quotes, such as "8e03978e".'
  throw new OneshotError('bad_request', detail)
}

function readLabels(given: string | null): string[] {
  const labels = (given ?? '').split(',').flatMap((label) => label.trim() || [])
  if (labels.length <= MAX_LABELS && labels.every((label) => LABEL.test(label))) {
    return [...new Set(labels)]
  }
  const detail = `X-Oneshot-Labels takes up to ${MAX_LABELS} labels, parted by commas, each of 1 to 100 of A–Z a–z 0–9 _ . : / = -.`
  throw new OneshotError('bad_request', detail)
}

function readCallbackUrl(url: string | null, rules: TargetRules): string | undefined {
  if (url === null) return undefined
  const refusal = checkUrl(url, rules)
  if (refusal === undefined) return url
  throw new OneshotError('callback_refused', `The callback's URL ${refusal}.`)
}
