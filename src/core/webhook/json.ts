import { decodeUtf8 } from './request.ts'

/** How deep lists and maps may stand within one another. */
const MAX_DEPTH = 64
/** Of all values together. `{},` takes three bytes to send and some sixty to hold: the longest body that is taken would be as much as the gateway has. */
const MAX_VALUES = 200_000

/**
 * JSON in UTF-8, as RFC 8259 has it. Undefined for anything else, and for what is nested deeper than 64 levels or may hold more than 200,000 values; then it is not
 * parsed at all.
 */
export function parseJsonBytes(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes)
  return text === undefined ? undefined : parseJsonText(text)
}

export function parseJsonText(text: string): unknown {
  if (isTooMuch(text)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Looks at brackets and commas outside of texts. Of what is no JSON it may say either. */
function isTooMuch(text: string): boolean {
  let depth = 0
  let values = 1
  let isInText = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (isInText) {
      if (code === BACKSLASH) at++
      else if (code === QUOTE) isInText = false
    } else if (code === QUOTE) isInText = true
    else if (code === COMMA) values++
    // In ASCII one bit tells `[` from `{`, and `]` from `}`.
    else if ((code | 32) === OPENING) {
      depth++
      values++
    } else if ((code | 32) === CLOSING) depth--
    if (depth > MAX_DEPTH || values > MAX_VALUES) return true
  }
  return false
}

const COMMA = 44
const QUOTE = 34
const BACKSLASH = 92
const OPENING = 123
const CLOSING = 125

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What `json` itself holds under these names, one within the other. */
export function propertyAt(json: unknown, ...names: readonly string[]): unknown {
  let value = json
  for (const name of names) {
    value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
  }
  return value
}
