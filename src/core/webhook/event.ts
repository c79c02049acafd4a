import type { WebhookScheme } from '../trigger.ts'
import { propertyAt } from './json.ts'
import type { HookContent, HookHeaders } from './request.ts'
import { findHeader, toHeaderText } from './request.ts'
import { findSelectedText } from './selector.ts'

/** What a delivery tells of. */
export interface HookEvent {
  /** Such as `pull_request`. */
  readonly type: string
  /** Such as `opened`. */
  readonly action?: string
}

const MAX_LENGTH = 200

/**
 * What came; undefined if the delivery does not say. `json` is of `parseHookBody`, or of one CloudEvent. GitHub's and Gitea's headers are not signed: whoever has
 * a signed body can send it as another event.
 */
export function readEvent(
  scheme: WebhookScheme,
  headers: HookHeaders,
  json: unknown,
): HookEvent | undefined {
  switch (scheme.provider) {
    case 'github':
      return toEvent(headerOf(headers, 'x-github-event'), propertyAt(json, 'action'))
    case 'gitea':
      return toEvent(
        headerOf(headers, 'x-gitea-event') ?? headerOf(headers, 'x-forgejo-event'),
        propertyAt(json, 'action'),
      )
    case 'gitlab':
      return toEvent(
        // System hooks have no kind.
        propertyAt(json, 'object_kind') ?? propertyAt(json, 'event_name'),
        propertyAt(json, 'object_attributes', 'action'),
      )
    case 'slack':
      return toEvent(slackTypeOf(json))
    case 'stripe':
    case 'standard':
    case 'cloudevents':
      return toEvent(propertyAt(json, 'type'))
    case 'alertmanager':
      return toEvent(propertyAt(json, 'status'))
    case 'token':
    case 'hmac':
    case 'none': {
      const content: HookContent = { headers, json }
      return toEvent(findSelectedText(scheme.event, content))
    }
  }
}

/** An event of the Events API, an interaction, or a slash command. */
function slackTypeOf(json: unknown): unknown {
  const type = propertyAt(json, 'type')
  if (type === 'event_callback') return propertyAt(json, 'event', 'type')
  return type ?? propertyAt(json, 'command')
}

/** As `events` names it and deliveries are recorded: with its action, if it has one. */
export function toEventName({ type, action }: HookEvent): string {
  return action === undefined ? type : `${type}.${action}`
}

/** Whether it is one of these, by its type or with its action. Absent: any is. */
export function matchesEvents(
  events: readonly string[] | undefined,
  event: HookEvent | undefined,
): boolean {
  if (!events) return true
  return event !== undefined && (events.includes(event.type) || events.includes(toEventName(event)))
}

/** What a delivery wants of the receiver alone; no invocation is made for it. */
export type HookAnswer =
  /** To be answered with this very text, as `text/plain`. */
  { readonly kind: 'challenge'; readonly text: string } | { readonly kind: 'ping' }

/** Of a delivery that is verified: https://docs.slack.dev/reference/events/url_verification, and GitHub's ping. */
export function findAnswer(
  scheme: WebhookScheme,
  event: HookEvent | undefined,
  json: unknown,
): HookAnswer | undefined {
  if (scheme.provider === 'github' && event?.type === 'ping') return { kind: 'ping' }
  if (scheme.provider !== 'slack' || event?.type !== 'url_verification') return undefined
  const text = propertyAt(json, 'challenge')
  const isPlain = typeof text === 'string' && /^[!-~]{1,1000}$/.test(text)
  return isPlain ? { kind: 'challenge', text } : undefined
}

function headerOf(headers: HookHeaders, name: string): string | undefined {
  const value = findHeader(headers, name)
  return value === undefined ? undefined : toHeaderText(value)
}

function toEvent(type: unknown, action?: unknown): HookEvent | undefined {
  if (!isName(type)) return undefined
  return isName(action) ? { type, action } : { type }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH
}
