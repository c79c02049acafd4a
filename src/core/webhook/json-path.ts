/**
 * A place in a JSON document: of RFC 9535 the names, the indexes and the wildcard, such as `$.commits[*].author.name` or `$['a b'][0]`. Neither filters nor
 * descents, so that finding takes time in proportion to what is found.
 */
export type JsonPath = readonly JsonPathSegment[]

export type JsonPathSegment =
  | { readonly name: string }
  | { readonly index: number }
  | { readonly wildcard: true }

const MAX_LENGTH = 1000
const MAX_SEGMENTS = 64
/** The most values that are looked at for one path. */
export const MAX_LOOKED_AT = 10_000

const dotted = /\.(?:(\*)|([A-Za-z_\u0080-\u{10ffff}][A-Za-z0-9_\u0080-\u{10ffff}]*))/uy
const bracketed =
  /\[[ \t\n\r]*(?:(\*)|(0|-?[1-9]\d{0,15})|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")[ \t\n\r]*\]/uy
const blank = /[ \t\n\r]*/y

/** Undefined for what RFC 9535 does not know, for what of it is not taken, and for what is longer than 1000 characters or 64 segments. */
export function parseJsonPath(text: string): JsonPath | undefined {
  if (text.length > MAX_LENGTH || !text.startsWith('$') || !text.isWellFormed()) return undefined
  const path: JsonPathSegment[] = []
  let at = 1
  while (at < text.length) {
    blank.lastIndex = at
    const start = at + blank.exec(text)![0].length
    const pattern = text[start] === '[' ? bracketed : dotted
    pattern.lastIndex = start
    const match = pattern.exec(text)
    const segment = match && toSegment(match)
    if (!segment || path.length === MAX_SEGMENTS) return undefined
    path.push(segment)
    at = pattern.lastIndex
  }
  return path
}

function toSegment([, wildcard, second, single, double]: RegExpExecArray):
  | JsonPathSegment
  | undefined {
  if (wildcard !== undefined) return { wildcard: true }
  const quoted = single ?? double
  if (quoted !== undefined) {
    const name = unescape(quoted, single === undefined ? '"' : "'")
    return name === undefined ? undefined : { name }
  }
  if (!/^-?\d+$/.test(second!)) return { name: second! }
  const index = Number(second)
  return Number.isSafeInteger(index) ? { index } : undefined
}

const escape = /\\(?:u([0-9A-Fa-f]{4})|(.))/gsu
const plain: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  '/': '/',
  '\\': '\\',
}

/** RFC 9535, 2.3.1.1: of the quotes only the one that is used is escaped. */
function unescape(text: string, quote: string): string | undefined {
  // oxlint-disable-next-line no-control-regex
  if (/[\0-\x1f]/.test(text)) return undefined
  let isValid = true
  const name = text.replaceAll(escape, (_, code: string | undefined, letter: string) => {
    if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16))
    if (letter === quote) return quote
    isValid &&= Object.hasOwn(plain, letter)
    return plain[letter] ?? ''
  })
  return isValid && name.isWellFormed() ? name : undefined
}

/**
 * What is at `path`, in the document's order. Undefined if more than `max` values would have to be looked at: whoever asks cannot tell then what is there. Only
 * what the document itself holds is found, nothing of the language's.
 */
export function findValues(
  path: JsonPath,
  json: unknown,
  max = MAX_LOOKED_AT,
): readonly unknown[] | undefined {
  let values: unknown[] = json === undefined ? [] : [json]
  let looked = values.length
  for (const segment of path) {
    const next: unknown[] = []
    for (const value of values) {
      for (const child of childrenAt(segment, value)) {
        if (++looked > max) return undefined
        next.push(child)
      }
    }
    values = next
  }
  return values
}

function childrenAt(segment: JsonPathSegment, value: unknown): Iterable<unknown> {
  if (typeof value !== 'object' || value === null) return []
  if ('wildcard' in segment) return Array.isArray(value) ? value : ownValues(value)
  if ('index' in segment) {
    if (!Array.isArray(value)) return []
    const at = segment.index < 0 ? value.length + segment.index : segment.index
    return at >= 0 && at < value.length ? [value[at]] : []
  }
  if (Array.isArray(value) || !Object.hasOwn(value, segment.name)) return []
  return [(value as Record<string, unknown>)[segment.name]]
}

/** One by one, because there may be more of them than are wanted. */
function* ownValues(object: object): Generator {
  for (const name in object) {
    if (Object.hasOwn(object, name)) yield (object as Record<string, unknown>)[name]
  }
}
