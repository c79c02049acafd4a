import type { HookHeaders } from './request.ts'
import { findHeader } from './request.ts'

/**
 * The headers of the answer to `OPTIONS` of a webhook for CloudEvents, by which its sender learns that deliveries are wanted: section 4 of
 * https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md. Whoever asks is allowed: it is the delivery that has to be believed. `perMinute` is how many
 * requests a minute he may send; absent: as many as he asks for. What is no origin is not echoed.
 */
export function answerHandshake(
  headers: HookHeaders,
  perMinute?: number,
): Readonly<Record<string, string>> {
  const origin = findHeader(headers, 'webhook-request-origin')
  if (origin === undefined || !/^[A-Za-z0-9.*_:/-]{1,300}$/.test(origin)) return { allow: 'POST' }
  const asked = findHeader(headers, 'webhook-request-rate')
  const isRate = asked !== undefined && /^[1-9]\d{0,8}$/.test(asked)
  const rate = Math.min(isRate ? Number(asked) : Infinity, perMinute ?? Infinity)
  return {
    allow: 'POST',
    'webhook-allowed-origin': origin,
    'webhook-allowed-rate': rate === Infinity ? '*' : String(rate),
  }
}
