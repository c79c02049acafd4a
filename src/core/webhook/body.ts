import { isObject, parseJsonBytes, parseJsonText } from './json.ts'
import { decodeUtf8, toMediaType } from './request.ts'

const FORM = 'application/x-www-form-urlencoded'
const MAX_FIELDS = 1000

/**
 * What a body says, as JSON. A form becomes an object of texts, or of lists of texts where a name comes more than once; its only field, if that is `payload` and
 * holds a JSON object, is the whole of it, as GitHub and Slack send it. Undefined: it is neither, or is JSON that `parseJsonBytes` does not take, or has more than 1000
 * fields. Any other type is tried as JSON: many who send it do not say so. Never throws.
 */
export function parseHookBody(contentType: string | undefined, body: Uint8Array): unknown {
  if (toMediaType(contentType) !== FORM) return parseJsonBytes(body)
  // What curl sends as a form unless it is told.
  const json = parseJsonBytes(body)
  return typeof json === 'object' && json !== null ? json : parseForm(body)
}

function parseForm(body: Uint8Array): unknown {
  const text = decodeUtf8(body)
  if (text === undefined || text === '' || text.split('&', MAX_FIELDS + 1).length > MAX_FIELDS) {
    return undefined
  }
  const fields = new Map<string, string[]>()
  for (const [name, value] of new URLSearchParams(text)) {
    const values = fields.get(name)
    if (values) values.push(value)
    else fields.set(name, [value])
  }
  const payload = fields.get('payload')
  if (fields.size === 1 && payload?.length === 1) {
    const json = parseJsonText(payload[0]!)
    if (isObject(json)) return json
  }
  return Object.fromEntries(
    Array.from(fields, ([name, values]) => [name, values.length === 1 ? values[0] : values]),
  )
}
