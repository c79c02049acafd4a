import type { RefusalReason } from './refusal.ts'

export type TimestampUnit = 's' | 'ms' | 'iso'

/** How far a delivery's time may be from ours, before or after. */
const TOLERANCE_SECONDS = 300

const digits: Readonly<Record<'s' | 'ms', RegExp>> = { s: /^\d{1,11}$/, ms: /^\d{1,14}$/ }
const rfc3339 =
  /^(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

/** Milliseconds since the epoch. Undefined for anything but plain digits, or RFC 3339's date-time in upper case. */
export function parseTimestamp(text: string, unit: TimestampUnit): number | undefined {
  if (unit !== 'iso') {
    return digits[unit].test(text) ? Number(text) * (unit === 's' ? 1000 : 1) : undefined
  }
  const day = rfc3339.exec(text)?.[1]
  if (day === undefined) return undefined
  // A day that no month has becomes one of the next.
  const midnight = new Date(`${day}T00:00:00Z`)
  const exists = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day)
  return exists ? Date.parse(text) : undefined
}

/** What keeps a delivery of that time from being fresh; counted in whole seconds, as the vendors' libraries do. */
export function checkFreshness(at: number, now: number): RefusalReason | undefined {
  const age = Math.floor(now / 1000) - Math.floor(at / 1000)
  if (age > TOLERANCE_SECONDS) return 'timestamp_too_old'
  // Written so that no clock that is not a number lets anything pass.
  return age >= -TOLERANCE_SECONDS ? undefined : 'timestamp_in_future'
}
