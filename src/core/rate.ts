/** At most `count` in each `perMs` milliseconds. */
export interface Rate {
  readonly count: number
  readonly perMs: number
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 }
const MAX_COUNT = 1_000_000

/** From `50/s`, `100/m` or `1000/h`; undefined for anything else. */
export function parseRate(text: string): Rate | undefined {
  const [, digits = '', unit = ''] = /^(\d{1,7})\/([smh])$/.exec(text) ?? []
  const count = Number(digits)
  const perMs = UNITS_MS[unit]
  return perMs === undefined || count < 1 || count > MAX_COUNT ? undefined : { count, perMs }
}
