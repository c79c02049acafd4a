import { quantile } from './statistics.ts'

/** How many, the least, the median, p95, p99, the most: a table's cells. */
export function toTimes(samples: readonly number[]): string[] {
  const figures = [0, 0.5, 0.95, 0.99, 1].map((q) => quantile(samples, q).toFixed(1))
  return [String(samples.length), ...figures]
}
