/** One request that came to a webhook. Plain data; times are milliseconds since the epoch. */
export interface HookDelivery {
  readonly id: string
  readonly hook: string
  readonly functionName: string
  /** The sender's own name for it, by which another one like it is known. Absent: it is one that was known already, or was asked for again. */
  readonly key?: string
  readonly receivedAt: number
  readonly verdict: HookVerdict
  /** Why, where the verdict alone does not say it. */
  readonly detail?: string
  /** The event's type, as `events` names it. */
  readonly event?: string
  /** By their names in lower case, without what could be a secret. */
  readonly headers: Readonly<Record<string, string>>
  readonly bodyBytes: number
  /** What it has made; of a duplicate, what the first has made. */
  readonly invocationId?: string
  /** The delivery that this one repeats. */
  readonly redeliveryOf?: string
}

/**
 * `accepted`: it made an invocation; `duplicate`: one like it had come before; `skipped`: `events` or `when` did not want it; `dropped`: too many were under
 * way; `answered`: a question of the provider's, such as a ping; `refused`: it was not signed as it should be; `invalid`: what it says is not what the function takes.
 */
export type HookVerdict =
  | 'accepted'
  | 'duplicate'
  | 'skipped'
  | 'dropped'
  | 'answered'
  | 'refused'
  | 'invalid'
