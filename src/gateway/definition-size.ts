import type { Document } from 'yaml'
import { isAlias, isMap, isSeq } from 'yaml'

/** Each takes the parser a search through all anchors. */
const MAX_ALIASES = 1_000
/** Keys, values and items, each alias counted as all that it stands for. */
const MAX_NODES = 200_000

/**
 * Why a document is too much to be read, undefined if it is not: aliases and merges make a lot of a little, and nothing else is done while they are written
 * out. Takes time in proportion to the text.
 */
export function findExcess({ contents }: Document): string | undefined {
  const sizes = new Map<string, number>()
  let aliases = 0

  function measure(node: unknown): number {
    if (isAlias(node)) {
      aliases += 1
      return sizes.get(node.source) ?? 1
    }
    if (typeof node !== 'object' || node === null) return 1
    let size = 1
    if (isMap(node)) for (const { key, value } of node.items) size += measure(key) + measure(value)
    else if (isSeq(node)) for (const item of node.items) size += measure(item)
    if ('anchor' in node && typeof node.anchor === 'string') sizes.set(node.anchor, size)
    return size
  }

  const size = measure(contents)
  if (aliases > MAX_ALIASES) return `expected at most ${MAX_ALIASES} aliases`
  return size > MAX_NODES
    ? `expected at most ${MAX_NODES} keys and values, aliases written out`
    : undefined
}
