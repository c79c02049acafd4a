import type { ParameterValue } from './parameters.ts'
import type { JsonPath } from './webhook/json-path.ts'

/** What makes invocations of a function by itself. Plain data, as a definition says it with its defaults filled in. */
export type Trigger = WebhookTrigger | ScheduleTrigger

/** `POST /hook/NAME` */
export interface WebhookTrigger {
  readonly type: 'webhook'
  /** Of its path; of all functions' webhooks only one has it. */
  readonly name: string
  readonly scheme: WebhookScheme
  /** Any of them may have signed a delivery. None only if `scheme` says that a delivery may be unsigned. */
  readonly secrets: readonly WebhookSecret[]
  /** The event's type, such as `push`, or with its action, such as `pull_request.opened`. Absent: any. */
  readonly events?: readonly string[]
  readonly when?: Rule
  readonly input: WebhookInput
  readonly mode: 'async' | 'sync'
  readonly concurrency?: TriggerConcurrency
}

/** Who sends, and how it is known that he did. */
export type WebhookScheme =
  | { readonly provider: 'github' | 'gitlab' | 'gitea' | 'stripe' | 'slack' | 'standard' }
  /** With a bearer token, if there are secrets. */
  | { readonly provider: 'cloudevents' | 'alertmanager'; readonly allowUnsigned: boolean }
  | TokenScheme
  | HmacScheme
  | { readonly provider: 'none'; readonly event?: Selector; readonly id?: Selector }

/** The secret itself stands in a header. */
export interface TokenScheme {
  readonly provider: 'token'
  /** In lower case; `authorization`: behind `Bearer`. */
  readonly header: string
  readonly event?: Selector
  readonly id?: Selector
}

/** An HMAC of what `template` makes of the delivery stands in a header. */
export interface HmacScheme {
  readonly provider: 'hmac'
  /** In lower case, as are all. */
  readonly header: string
  readonly algorithm: 'sha1' | 'sha256' | 'sha384' | 'sha512'
  readonly encoding: 'hex' | 'base64' | 'base64url'
  /** What stands before the signature, such as `sha256=`. */
  readonly prefix: string
  /** With `{body}`, `{timestamp}` and `{id}`, such as `{timestamp}.{body}`. */
  readonly template: string
  readonly timestamp?: { readonly header: string; readonly unit: 's' | 'ms' | 'iso' }
  /** The header of the delivery's id. */
  readonly id?: Selector
  readonly event?: Selector
}

export interface WebhookSecret {
  /** As it was read: what a provider makes of it, such as base64, is the provider's own affair. Never shown, never logged. */
  readonly value: string
  /** Milliseconds since the epoch: after it, nothing is accepted that was signed with it. */
  readonly notAfter?: number
}

/** A place in a delivery: a header by its name in lower case, or in the body. */
export type Selector = { readonly header: string } | { readonly path: JsonPath }

type Scalar = string | number | boolean | null

/** What a delivery has to be like. A path that leads to several values holds if it holds for one of them. */
export type Rule =
  | { readonly all: readonly Rule[] }
  | { readonly any: readonly Rule[] }
  | { readonly not: Rule }
  | (Selector & Condition)

export type Condition =
  | { readonly eq: Scalar }
  | { readonly in: readonly Scalar[] }
  /** A regular expression, as `compilePattern` takes it. */
  | { readonly match: string }
  | { readonly exists: boolean }

/** What becomes of a delivery. */
export interface WebhookInput {
  /** Whether the body is the command's stdin, byte for byte. */
  readonly body: 'raw' | 'none'
  readonly parameters: Readonly<Record<string, Mapped>>
  readonly environment: Readonly<Record<string, Mapped>>
}

export type Mapped = Selector | { readonly value: ParameterValue }

/** How many of a trigger's invocations may be under way at once. */
export interface TriggerConcurrency {
  readonly max: number
  /** Those of the same value count together. Absent: all of the trigger. */
  readonly key?: Selector
  /** What becomes of one that is too many: it waits, or is not made; or it takes the place of the oldest, which is cancelled. */
  readonly policy: OverlapPolicy
}

export type OverlapPolicy = 'queue' | 'drop' | 'replace'

export interface ScheduleTrigger {
  readonly type: 'schedule'
  /** Of the function's schedules only one has it. */
  readonly name: string
  readonly timing: ScheduleTiming
  /** What becomes of a tick while the invocation of one before it is under way. */
  readonly overlap: 'skip' | 'queue' | 'replace'
  /** What becomes of ticks that were missed, as while the gateway was down: the latest is made up for, or none. */
  readonly catchUp: 'once' | 'none'
  /** How late a tick may be made up for, in milliseconds. */
  readonly maxLatenessMs: number
  readonly parameters: Readonly<Record<string, ParameterValue>>
  /** The command's stdin. */
  readonly body?: string
}

export type ScheduleTiming =
  | { readonly kind: 'cron'; readonly expression: string; readonly timezone: string }
  /** At the multiples of it since the epoch. */
  | { readonly kind: 'every'; readonly everyMs: number }

/** By what an invocation was made, as it tells of itself. */
export interface TriggeredBy {
  readonly type: Trigger['type']
  readonly name: string
}

/** Names a function's schedule among all. */
export function toScheduleId(
  functionName: string,
  { name }: Pick<ScheduleTrigger, 'name'>,
): string {
  return `${functionName}/${name}`
}
