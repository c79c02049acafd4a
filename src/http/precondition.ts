import type { Expectation } from '../gateway/deployed.ts'

const TAGS = /(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g

/** What `If-Match` and `If-None-Match` say of what is to be changed (RFC 9110, 13.1). */
export function readExpectation(
  ifMatch: string | undefined,
  ifNoneMatch: string | undefined,
): Expectation {
  return (etag) => {
    // A weak one is never the same as a strong one.
    if (ifMatch !== undefined && !isAmong(etag, ifMatch)) return false
    return ifNoneMatch === undefined || !isAmong(etag, ifNoneMatch.replaceAll('W/"', '"'))
  }
}

function isAmong(etag: string | undefined, field: string): boolean {
  if (etag === undefined) return false
  const tags: readonly string[] = field.match(TAGS) ?? []
  return field.trim() === '*' || tags.includes(etag)
}
