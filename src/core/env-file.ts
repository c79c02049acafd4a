import type { Interpolation, Variables } from './interpolate.ts'
import { MAX_LENGTH, interpolateBy, valueOf } from './interpolate.ts'
import { showPlaceholders } from './template.ts'

export type EnvFile =
  | {
      readonly variables: Readonly<Record<string, string>>
      /** Variables that are not set and have no default: they became empty. */
      readonly unset: readonly string[]
    }
  | { readonly problem: string; readonly line: number }

const assignment = /^(?:export\s+)?([A-Za-z_][\w.-]*)(?:(\s*=\s*|:\s+)|(?=\s*$|\s+#))/
const rawAssignment = /^(?:export\s+)?([A-Za-z_][\w.-]*)(?:(\s*=)|(?=\s*$|\s+#))/
const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' }

/**
 * Compose's env files: `KEY=value` or `KEY: value` a line, `#` comments, single quotes for what is meant as it is,
 * double quotes with `\n`, `\r`, `\t`, and either over several lines. Unless in single quotes, `${VAR}` is filled in,
 * first from what the file has said so far, then from `variables`. A `KEY` alone is taken from `variables`.
 * The format `raw` knows `KEY=value` alone, and takes everything after `=` as it is. All in linear time: the files are
 * read again as they change, while calls are served.
 */
export function parseEnvFile(text: string, variables: Variables, format?: 'raw'): EnvFile {
  if (text.includes('\0')) return { problem: 'expected no NUL character', line: 1 }
  const own = new Map<string, string>()
  const unset = new Set<string>()
  const lookup = (name: string) => own.get(name) ?? valueOf(variables, name)
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  let length = 0
  for (let index = 0; index < lines.length; index++) {
    const line = index + 1
    const content = lines[index]!.trimStart()
    if (content === '' || content.startsWith('#')) continue
    const match = (format === 'raw' ? rawAssignment : assignment).exec(content)
    if (!match) return { problem: 'expected NAME=value', line }
    const name = match[1]!
    const rest = content.slice(match[0].length)
    if (match[2] === undefined) {
      const value = valueOf(variables, name)
      if (value !== undefined) own.set(name, value)
      continue
    }
    const read = format === 'raw' ? asItIs(rest, index) : readValue(rest, lines, index, lookup)
    if (read.problem !== undefined) return { problem: read.problem, line }
    for (const each of read.unset) unset.add(each)
    own.set(name, read.text)
    index = read.last
    // Few lines can say much: each may hold the one before twice.
    length += read.text.length
    if (length > MAX_LENGTH) return { problem: 'the values become longer than 1.75 MiB', line }
  }
  return { variables: Object.fromEntries(own), unset: [...unset] }
}

interface Value extends Pick<Interpolation, 'text' | 'unset' | 'problem'> {
  /** Where the last line of the value stands. */
  readonly last: number
}

function asItIs(text: string, last: number): Value {
  return { text, unset: [], last }
}

/** `rest` is what follows `=` in the line at `index`. */
function readValue(
  rest: string,
  lines: readonly string[],
  index: number,
  lookup: (name: string) => string | undefined,
): Value {
  const quote = rest[0]
  if (quote !== '"' && quote !== "'") return fill(withoutComment(rest), index, lookup)
  const parts: string[] = []
  let part = rest.slice(1)
  let end = closing(part, quote)
  let last = index
  while (end < 0 && last + 1 < lines.length) {
    parts.push(part)
    part = lines[++last]!
    end = closing(part, quote)
  }
  if (end < 0) return { ...asItIs(rest, last), problem: `expected a closing ${quote}` }
  const text = [...parts, part.slice(0, end)].join('\n')
  return quote === "'" ? asItIs(text, last) : fill(unescape(text), last, lookup)
}

function fill(text: string, last: number, lookup: (name: string) => string | undefined): Value {
  const read = interpolateBy(text, lookup)
  return read.problem === undefined
    ? { ...read, text: showPlaceholders(read.text), last }
    : { ...read, last }
}

function withoutComment(text: string): string {
  const at = text.search(/(?<!\S)#/)
  return (at < 0 ? text : text.slice(0, at)).trimEnd()
}

/** A line's last backslash escapes its end. */
function closing(line: string, quote: string): number {
  for (let at = 0; at < line.length; at++) {
    if (line[at] === '\\' && quote === '"') at++
    else if (line[at] === quote) return at
  }
  return -1
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/gs, (whole, character: string) => {
    if (character === '"' || character === '\\') return character
    return character === '$' ? '$$' : (escapes[character] ?? whole)
  })
}
