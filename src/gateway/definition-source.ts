/*
 * What may be shown of a definition: everything, except the values of what looks like a secret. A reference to the
 * gateway's environment or to a parameter is not one. Every pattern here takes time in proportion to the text alone.
 */
const secret = /pass|pwd|token|secret|key|credential|auth|private/i
const reference = /^(["']?)(?:\$\w+|\$\{\w+\}|\$\{\{\s*\w+\s*\}\})\1$/
const MASK = '***'

const telling = String.raw`[\w-]*?(?:${secret.source})`
const name = String.raw`(?<![\w-])(?=${telling})([\w-]+)`
/** A shell's word, quoted or not. What is never closed goes to the end: rather too much than too little. */
const word = String.raw`((?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s;&"'])+)`
/** `NAME=value`, and JSON's `"name": "value"`. */
const assigned = new RegExp(String.raw`${name}(=|["']\s*:\s*)${word}`, 'gis')
/** `Name: value`, as in the fields of HTTP: to the end of what is quoted, or of the line. */
const field = new RegExp(String.raw`${name}(:[ \t]+)([^\s"'][^"'\n]*)`, 'gi')
/** `--name value` */
const option = new RegExp(String.raw`(?<![\w-])(?=-${telling})([\w-]+)(\s+)(?!-)${word}`, 'gis')
/** `Bearer value`: the schemes of HTTP that carry the secret itself. */
const scheme = new RegExp(String.raw`(?<![\w-])(Bearer|Basic)(\s+)([^\s;&"']+)`, 'gi')
const userInfo = /(:\/\/[^\s/:@]*)(:)([^\s"']{1,256})(?=@)/g
/** All of an item of a list, such as `NAME=value` or `--name=value`, whatever the value holds. */
const item = /^([\w.-]+)(=|:[ \t]+)(.+)$/s

/** A copy of `definition`, as its author wrote it, with the values of secrets masked. */
export function maskSecrets(definition: Readonly<Record<string, unknown>>) {
  return maskEntries(definition, false)
}

/** Where a parameter with a telling name tells. */
const samples = new Set(['default', 'examples', 'enum', 'const'])
/** Prose, in which a word such as `basic` says nothing of the next. */
const prose = new Set(['description', 'title'])

function maskEntries(entries: object, isSecret: boolean): Record<string, unknown> {
  const masked = Object.entries(entries).map(([key, value]: [string, unknown]) => {
    // A list below a telling key, such as `secrets`, has names in it.
    const isTelling = secret.test(key) && !Array.isArray(value)
    if (prose.has(key) && typeof value === 'string') return [key, maskAssigned(value)]
    // The options of mount(2) are a list in a text.
    if (key === 'o' && typeof value === 'string') return [key, maskList(value.split(',')).join(',')]
    return [key, mask(value, isTelling || (isSecret && samples.has(key)))]
  })
  return Object.fromEntries(masked) as Record<string, unknown>
}

function mask(value: unknown, isSecret: boolean): unknown {
  if (Array.isArray(value))
    return isSecret ? value.map((each) => mask(each, true)) : maskList(value)
  if (typeof value === 'object' && value !== null) return maskEntries(value, isSecret)
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string') return isSecret ? hide(value) : maskText(value)
  return isSecret ? MASK : value
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
    .replaceAll(userInfo, hideMatch)
}

function hideMatch(_: string, before: string, separator: string, value: string): string {
  return before + separator + hide(value)
}

/** A scheme such as `Bearer` is no secret yet. */
function hide(text: string): string {
  const [, known = '', value = ''] = /^((?:Bearer|Basic)\s+)?(.*)$/is.exec(text) ?? []
  return known + (reference.test(value) ? value : MASK)
}
