import type { IncomingMessage } from 'node:http'
import { OneshotError } from '../core/error.ts'

/** `.` and `..`, however written, as a segment of a path (WHATWG URL, 4.1). */
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:[/#]|$)/i

/** Throws for what a parsed URL does not show any more: a missing Host, and segments that were resolved away. */
export function checkTarget({ httpVersion, headers, url = '' }: IncomingMessage): void {
  if (httpVersion === '1.1' && headers.host === undefined) {
    throw new OneshotError('bad_request', 'HTTP/1.1 needs a Host header (RFC 9112, 3.2): send one.')
  }
  const [path = ''] = url.split('?')
  if (DOT_SEGMENT.test(path)) {
    const detail = 'No path here has segments "." or "..": send the path that is meant.'
    throw new OneshotError('not_found', detail)
  }
}
