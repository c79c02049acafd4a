/*
 * What may be shown of a definition: everything, except the values of what looks like a secret. A reference to the
 * gateway's environment, to a parameter or into a webhook's body is not one. Every pattern here takes time in proportion to the text alone.
 */
import { isMap } from '../core/definition/shape.ts'

const secret = /pass|pwd|token|secret|key|credential|auth|private/i
const reference = /^(["']?)(?:\$\w+|\$\{\w+\}|\$\{\{\s*\w+\s*\}\}|\$[.[]\S*)\1$/
const MASK = '***'

const telling = String.raw`[\w-]*?(?:${secret.source})`
const name = String.raw`(?<![\w-])(?=${telling})([\w-]+)`
/** A shell's word, quoted or not. What is never closed goes to the end: rather too much than too little. */
const word = String.raw`((?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s;&"'])+)`
/** `NAME=value`, `name = "value"`, and JSON's `"name": "value"`. */
const assigned = new RegExp(String.raw`${name}([ \t]*[:=]?=[ \t]*|["']\s*:\s*)${word}`, 'gis')
/** `Name: value`, as in the fields of HTTP: to the end of what is quoted, or of the line. */
const field = new RegExp(String.raw`${name}(:[ \t]+)([^\s"'][^"'\n]*)`, 'gi')
/** `--name value` */
const option = new RegExp(String.raw`(?<![\w-])(?=-${telling})([\w-]+)(\s+)(?!-)${word}`, 'gis')
/** `Bearer value`: the schemes of HTTP that carry the secret itself. */
const scheme = new RegExp(String.raw`(?<![\w-])(Bearer|Basic)(\s+)([^\s;&"']+)`, 'gi')
/** Of a URL, from behind its `://`. */
const user = /[^/:@]*:/y
const authority = /[^/?#]*/y
/** All of an item of a list, such as `NAME=value` or `--name=value`, whatever the value holds. */
const item = /^([\w.-]+)([ \t]*=[ \t]*|:[ \t]+)(.+)$/s

/** A copy of `definition`, as its author wrote it, with the values of secrets masked. */
export function maskSecrets(definition: Readonly<Record<string, unknown>>) {
  return mapEntries(definition, (key, value) => {
    if (key === 'parameters') return maskSchemas(value, false)
    // A network's name tells nothing of its addresses.
    if (key === 'networks' && isMap(value)) return mapEntries(value, (_, each) => mask(each, false))
    return maskEntry(key, value)
  })
}

/** Where a parameter with a telling name tells. */
const samples = new Set(['default', 'examples', 'enum', 'const'])
/** Prose, in which a word such as `basic` says nothing of the next. */
const prose = new Set(['description', 'title'])

function maskSchemas(schemas: unknown, isSecret: boolean): unknown {
  if (!isMap(schemas)) return mask(schemas, isSecret)
  return mapEntries(schemas, (key, schema) => maskSchema(schema, isSecret || secret.test(key)))
}

function maskSchema(schema: unknown, isSecret: boolean): unknown {
  if (!isMap(schema)) return mask(schema, isSecret)
  return mapEntries(schema, (key, value) => {
    if (key === 'properties') return maskSchemas(value, isSecret)
    if (key === 'items' || key === 'additionalProperties') return maskSchema(value, isSecret)
    return isSecret && samples.has(key) ? mask(value, true) : maskEntry(key, value)
  })
}

function maskEntry(key: string, value: unknown): unknown {
  if (prose.has(key) && typeof value === 'string') return maskAssigned(value)
  // The options of mount(2) are a list in a text.
  if (key === 'o' && typeof value === 'string') return maskList(value.split(',')).join(',')
  // A list below a telling key, such as `secrets`, has names in it.
  return mask(value, secret.test(key) && !Array.isArray(value))
}

/** Of what is secret all that is below is. */
function mask(value: unknown, isSecret: boolean): unknown {
  if (Array.isArray(value))
    return isSecret ? value.map((each) => mask(each, true)) : maskList(value)
  if (isMap(value)) {
    return mapEntries(value, (key, each) => (isSecret ? mask(each, true) : maskEntry(key, each)))
  }
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string') return isSecret ? hide(value) : maskText(value)
  return isSecret ? MASK : value
}

function mapEntries(
  map: Readonly<Record<string, unknown>>,
  change: (key: string, value: unknown) => unknown,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(key, value)]))
}

/** In a list an item can tell of itself, and an option of the item after it. */
function maskList(items: readonly unknown[]): unknown[] {
  return items.map((each, index) => {
    const before: unknown = items[index - 1]
    if (typeof each !== 'string') return mask(each, false)
    const isValue =
      typeof before === 'string' && /^--?[\w-]+$/.test(before) && !each.startsWith('-')
    if (isValue && secret.test(before)) return hide(each)
    const [, key = '', separator = '', value = ''] = item.exec(each) ?? []
    return secret.test(key) ? key + separator + hide(value) : maskText(each)
  })
}

function maskText(text: string): string {
  return maskAssigned(text.replaceAll(scheme, hideMatch)).replaceAll(field, hideMatch)
}

function maskAssigned(text: string): string {
  return text
    .replaceAll(option, hideMatch)
    .replaceAll(assigned, hideMatch)
    .replaceAll(/[^\s"']+/g, maskUserInfo)
}

/** `://user:password@`, whatever the password holds, and `://token@`. */
function maskUserInfo(urls: string): string {
  const last = urls.lastIndexOf('@')
  let masked = ''
  let from = 0
  for (let at = startOfUrl(urls, 0); at <= last; at = startOfUrl(urls, at)) {
    const named = matchAt(user, urls, at)
    const begin = at + (named?.length ?? 0)
    const end = named ? last : at + matchAt(authority, urls, at)!.lastIndexOf('@')
    if (end < begin) continue
    masked += urls.slice(from, begin) + hide(urls.slice(begin, end))
    from = end
    at = end
  }
  return masked + urls.slice(from)
}

/** Infinity if there is none. */
function startOfUrl(text: string, from: number): number {
  const at = text.indexOf('://', from)
  return at < 0 ? Infinity : at + 3
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

function hideMatch(_: string, before: string, separator: string, value: string): string {
  return before + separator + hide(value)
}

/** A scheme such as `Bearer` is no secret yet. */
function hide(text: string): string {
  const [, known = '', value = ''] = /^((?:Bearer|Basic)\s+)?(.*)$/is.exec(text) ?? []
  return known + (reference.test(value) ? value : MASK)
}
