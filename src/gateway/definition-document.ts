import type { Document, Node, Scalar, YAMLError } from 'yaml'
import { isAlias, isMap, isScalar, isSeq, LineCounter, parse, parseDocument, visit } from 'yaml'
import type { DefinitionProblem } from '../core/definition/definition.ts'
import { interpolate } from '../core/interpolate.ts'
import { showPlaceholders } from '../core/template.ts'
import { maskSecrets } from './definition-source.ts'

type Path = DefinitionProblem['path']

/** One thing wrong in a file. Lines and columns count from 1. */
export interface FileProblem {
  readonly file: string
  readonly line: number
  readonly column: number
  /** The keys that lead to it, such as `deploy.resources.limits.memory`; empty for the file as a whole. */
  readonly key: string
  readonly message: string
}

/** A definition's YAML, read, with its variables filled in. */
export interface DefinitionDocument {
  /** As written, with the values of secrets masked. */
  readonly source: Readonly<Record<string, unknown>>
  readonly value: unknown
  readonly warnings: readonly string[]
  readonly problems: readonly FileProblem[]
  /** Gives a problem its place in the file. */
  locate(problem: DefinitionProblem): FileProblem
}

const MAX_ALIASES = 100
const MAX_DEPTH = 64
/** The most problems, or warnings, that are told of one file. */
const MAX_TOLD = 20
/** The longest key and the longest message. */
const MAX_TEXT = 500
const MAX_BYTES = 1024 * 1024

/** Undefined `value` and at least one problem, if it can't be read at all. */
export function readDocument(
  file: string,
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
): DefinitionDocument {
  const lines = new LineCounter()
  const at = (offset: number, key: string, message: string): FileProblem => {
    const { line, col } = lines.linePos(offset)
    const place = { line: Math.max(line, 1), column: Math.max(col, 1) }
    return { file, ...place, key: cut(key), message: cut(message) }
  }
  const unreadable = (...problems: FileProblem[]): DefinitionDocument => ({
    source: {},
    value: undefined,
    warnings: [],
    problems,
    locate: ({ path, message }) => at(0, path.join('.'), message),
  })
  if (Buffer.byteLength(text) > MAX_BYTES) {
    return unreadable(at(0, '', 'expected a file of at most 1 MiB'))
  }
  try {
    const options = { merge: true, prettyErrors: false, uniqueKeys: false }
    const document = parseDocument(text, { ...options, lineCounter: lines })
    // What comes after the first fault is most often its echo.
    const [fault] = [...document.errors, ...document.warnings]
    if (fault)
      return unreadable(
        at(fault.pos[0], '', `not YAML: ${reasonOf(fault)}${quoteHint(text, fault)}`),
      )
    const duplicate = findDuplicate(document)
    if (duplicate?.range) {
      return unreadable(at(duplicate.range[0], '', 'not YAML: the same key stands here twice'))
    }
    const written: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
    if (isDeeper(written, MAX_DEPTH)) {
      return unreadable(at(0, '', `expected at most ${MAX_DEPTH} levels, one within another`))
    }
    if (!isMap(document.contents)) {
      return unreadable(at(0, '', 'expected a map of keys such as image and command'))
    }
    const source = maskSecrets(written as Record<string, unknown>)
    const filled = fillIn(document, environment)
    const locate = ({ path, message }: DefinitionProblem) =>
      at(offsetOf(document, path), path.join('.'), filled.redact(message))
    const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES })
    return {
      source,
      value,
      warnings: filled.warnings,
      problems: firstOf(filled.problems).map(locate),
      locate,
    }
  } catch (error) {
    // The parser goes as deep as the text does, and refuses aliases that multiply.
    return unreadable(at(0, '', `not YAML: ${reasonOf(error as Error)}`))
  }
}

/** The first problems, and how many more there are. */
export function firstOf(problems: readonly DefinitionProblem[]): readonly DefinitionProblem[] {
  const more = problems.length - MAX_TOLD
  if (more <= 0) return problems
  return [...problems.slice(0, MAX_TOLD), { path: [], message: `and ${more} more problems` }]
}

/** The parser's own search takes the square of a map's keys. */
function findDuplicate(document: Document): Node | undefined {
  let duplicate: Node | undefined
  visit(document, {
    Map(_, { items }) {
      const seen = new Set<string>()
      for (const { key } of items) {
        if (seen.size === seen.add(keyText(key)).size) {
          duplicate = key as Node
          return visit.BREAK
        }
      }
      return undefined
    },
  })
  return duplicate
}

/** After a colon the parser quotes the file, which may be a secret there. */
function reasonOf({ message }: Error): string {
  return /call stack/.test(message) ? 'nested too deeply' : message.replace(/:\s.*$/s, '')
}

function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1))
}

/** `[${VAR}]` and `{ a: ${VAR} }` look right and are not: there, a brace begins a map. */
function quoteHint(text: string, { pos: [offset] }: YAMLError): string {
  const before = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset + 1)
  return before.includes('${') ? ': inside [ ] and { }, put quotes around ${…}' : ''
}

/** Keys below which numbers are meant as texts: `VERSION: 1.10` is not 1.1. */
const textMaps = new Set(['environment', 'env', 'labels', 'driver_opts', 'options', 'sysctls'])
/** Texts of JSON Schema that are shown or matched, where a `$` is a `$`. */
const verbatim = new Set(['description', 'title', 'examples', 'pattern'])

/** Changes the document's scalars to what they are once variables are filled in. */
function fillIn(document: Document, environment: Readonly<Record<string, string | undefined>>) {
  const problems: DefinitionProblem[] = []
  const unset = new Set<string>()
  const used = new Map<string, string>()

  function fill(scalar: Scalar, path: Path): void {
    const { value, source = '' } = scalar
    if (typeof value === 'number') {
      const isText = textMaps.has(String(path.at(-2)))
      // With a leading 0, YAML 1.1 and 1.2 read different numbers: whoever takes it shall decide.
      if (isText || /^0o?\d/.test(source)) scalar.value = source
    }
    if (typeof value !== 'string') return
    if (value.includes('\0')) problems.push({ path, message: 'expected no NUL character' })
    else if (!isVerbatim(path)) fillText(scalar, value, path)
  }

  function fillText(scalar: Scalar, written: string, path: Path): void {
    const read = interpolate(written, environment)
    if (read.problem) problems.push({ path, message: read.problem })
    for (const name of read.unset) unset.add(name)
    for (const [name, value] of Object.entries(read.used)) used.set(name, value)
    const isTyped = path[0] === 'parameters' && scalar.type === 'PLAIN' && read.text !== written
    scalar.value = isTyped ? typed(read.text) : read.text
  }

  forEachScalar(document.contents, [], fill)
  return {
    problems,
    warnings: [...unset]
      .slice(0, MAX_TOLD)
      .map((name) => `The variable ${cut(name)} is not set: it became empty.`),
    /** Keeps what the environment holds out of what is shown. */
    redact: (message: string) => {
      let redacted = showPlaceholders(message)
      for (const [name, value] of used) {
        if (value.length >= 4) redacted = redacted.replaceAll(value, `\${${name}}`)
      }
      return redacted
    },
  }
}

function isVerbatim(path: Path): boolean {
  if (path.length === 1) return path[0] === 'description'
  return path[0] === 'parameters' && path.slice(2).some((key) => verbatim.has(String(key)))
}

function typed(text: string): unknown {
  return /^(?:true|false|-?\d+(?:\.\d+)?)$/.test(text) ? parse(text) : text
}

/** Aliases are left out: what they stand for comes by at its own place. */
function forEachScalar(node: unknown, path: Path, visit: (scalar: Scalar, path: Path) => void) {
  if (isScalar(node)) visit(node, path)
  if (isMap(node)) {
    for (const { key, value } of node.items) {
      forEachScalar(value, [...path, keyText(key)], visit)
    }
  }
  if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) forEachScalar(item, [...path, index], visit)
  }
}

/** Where `path`, or as much of it as stands in the file, begins. */
function offsetOf(document: Document, path: Path): number {
  let offset = 0
  let node: unknown = document.contents
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((item) => keyText(item.key) === String(key))
      if (!pair) return offset
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = (node as Node | undefined)?.range?.[0] ?? offset
    } else return offset
  }
  return offset
}

function keyText(key: unknown): string {
  return String(isScalar(key) ? key.value : key)
}
