/** A Markdown table whose columns are also lined up for a terminal; all columns but the first to the right. */
export function toTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const toLine = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [head, rule, ...rows].map(toLine).join('\n')
}

/** What a benchmark holds its subject to. */
export interface Target {
  readonly what: string
  readonly value: number
  readonly atLeast?: number
  readonly atMost?: number
}

/** Prints each target with what came of it; true if none was missed. */
export function report(targets: readonly Target[]): boolean {
  let met = true
  for (const { what, value, atLeast = -Infinity, atMost = Infinity } of targets) {
    // So that a value which is not a number meets nothing.
    const isMet = value >= atLeast && value <= atMost
    const bound = Number.isFinite(atMost) ? `at most ${atMost}` : `at least ${atLeast}`
    console.log(`${isMet ? 'met   ' : 'MISSED'} ${what}: ${value.toFixed(3)}, ${bound}`)
    met &&= isMet
  }
  return met
}
