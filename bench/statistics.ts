/** The smallest sample that at least the share `q` of them does not pass (nearest rank). */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.max(Math.ceil(q * sorted.length), 1) - 1] ?? NaN
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5)
}

/** The rate of batches of one size taken together: their number of calls by their time. */
export function meanRate(rates: readonly number[]): number {
  return rates.length / rates.reduce((time, rate) => time + 1 / rate, 0)
}

/** A new order each time, all orders alike likely (Fisher and Yates). */
export function shuffled<T>(items: readonly T[]): T[] {
  const order = [...items]
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}
