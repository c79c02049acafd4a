const durationPart = /(\d+(?:\.\d+)?)(us|µs|ms|s|m|h|d|w)/y
const msPerUnit: Readonly<Record<string, number>> = {
  us: 0.001,
  µs: 0.001,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** Beyond some 24.8 days timers end at once. */
export const MAX_DURATION_MS = 24 * 86_400_000

/** Compose's durations, such as `1m30s` or `500ms`, in whole milliseconds. Undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  durationPart.lastIndex = 0
  let total = 0
  let end = 0
  while (end < text.length) {
    const part = durationPart.exec(text)
    if (!part) return undefined
    total += Number(part[1]) * msPerUnit[part[2]!]!
    end = durationPart.lastIndex
  }
  return end > 0 && total <= Number.MAX_SAFE_INTEGER ? Math.ceil(total) : undefined
}

const size = /^(\d+(?:\.\d+)?)\s*(b|[kmgt](?:i?b)?)?$/i
const bytesPerUnit: Readonly<Record<string, number>> = {
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
}

/** Compose's byte values: `64k`, `1mb`, `1.5g`, or a number of bytes; 1 kb is 1024 bytes. Undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = size.exec(text.trim())
  if (!match) return undefined
  const unit = (match[2] ?? 'b')[0]!.toLowerCase()
  const bytes = Math.floor(Number(match[1]) * bytesPerUnit[unit]!)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** In the largest unit that has it whole, such as `6m`. */
export function showBytes(bytes: number): string {
  const units = Object.entries(bytesPerUnit).filter(([, size]) => bytes >= size)
  const [unit, size] = units.findLast(([, each]) => bytes % each === 0) ?? ['b', 1]
  return `${bytes / size}${unit}`
}
