import type { WebhookScheme } from '../trigger.ts'
import { propertyAt } from './json.ts'
import { toDigest } from './mac.ts'
import type { HookHeaders, HookRequest } from './request.ts'
import { findHeader } from './request.ts'
import { findSigningScheme } from './scheme.ts'
import { findSelectedText } from './selector.ts'

/** Within which the same body is the same delivery, where nothing but the body tells one from another. */
const SAME_BODY_MS = 300_000
const MAX_LENGTH = 200

/**
 * By what another delivery of the same is known, among those of one webhook: at most 200 visible characters of ASCII, longer ids and others as `sha256:HEX`.
 * `json` is of `parseHookBody`, or of one CloudEvent.
 *
 * That is the provider's own id, even where it is not signed. GitHub's and Gitea's are not: whoever has got hold of a signed request can send it once more under
 * another id. The body, which is signed, cannot stand in for it: two `workflow_dispatch` events of one repository may be the same to the byte and are both meant.
 *
 * Without an id, it is the signature and what is signed. What is not signed has no such name: there the same body counts as the same delivery for five minutes, long
 * enough for a sender that tries again because the answer was lost. Alertmanager repeats a notification unchanged for as long as an alert lasts, and a
 * deploy hook may always have an empty body: for days they must not be taken for duplicates. The five minutes are counted from multiples of five minutes.
 */
export function readDeliveryId(
  scheme: WebhookScheme,
  request: HookRequest,
  json: unknown,
  now: number,
): string {
  const own = findOwnId(scheme, request, json)
  if (own !== undefined) return toKey(own)
  const { headers, body } = request
  const signatures = findSigningScheme(scheme)?.headers.flatMap((name) => headers.get(name) ?? [])
  const isSigned = signatures !== undefined && signatures.length > 0
  const beside = isSigned ? signatures : [String(Math.floor(now / SAME_BODY_MS))]
  return `${DIGEST}${toDigest([...beside, body])}`
}

function findOwnId(scheme: WebhookScheme, request: HookRequest, json: unknown): string | undefined {
  const { headers } = request
  switch (scheme.provider) {
    case 'github':
      return findHeader(headers, 'x-github-delivery')
    case 'gitea':
      return findHeader(headers, 'x-gitea-delivery') ?? findHeader(headers, 'x-forgejo-delivery')
    case 'gitlab':
      return findGitlabId(headers, request.body)
    case 'stripe':
      return textOf(propertyAt(json, 'id'))
    case 'slack':
      return textOf(propertyAt(json, 'event_id'))
    case 'standard':
      return findHeader(headers, 'webhook-id')
    case 'cloudevents': {
      // Section 3.1.1 of the specification: together they are unique.
      const names = [propertyAt(json, 'source'), propertyAt(json, 'id')].map(textOf)
      return names.includes(undefined) ? undefined : JSON.stringify(names)
    }
    case 'alertmanager':
      return undefined
    case 'token':
    case 'hmac':
    case 'none':
      return textOf(findSelectedText(scheme.id, { headers, json }))
  }
}

/**
 * `webhook-id` is signed, and the same as `Idempotency-Key`, which all attempts at one delivery share. GitLab before 17.4 has neither; its event's id is also
 * that of whatever events this one led to, so that the body has to tell them apart. https://docs.gitlab.com/user/project/integrations/webhooks
 */
function findGitlabId(headers: HookHeaders, body: Uint8Array): string | undefined {
  const id = findHeader(headers, 'webhook-id') ?? findHeader(headers, 'idempotency-key')
  if (id !== undefined) return id
  const event = findHeader(headers, 'x-gitlab-event-uuid')
  return event === undefined ? undefined : `${DIGEST}${toDigest([event, body])}`
}

const DIGEST = 'sha256:'

/** No id of a sender's is that of a body. */
function toKey(id: string): string {
  const isPlain = /^[!-~]+$/.test(id) && id.length <= MAX_LENGTH && !id.startsWith(DIGEST)
  return isPlain ? id : `${DIGEST}${toDigest([id])}`
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
