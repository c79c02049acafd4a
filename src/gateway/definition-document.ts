import type { Alias, Document, Node, Pair, Scalar, YAMLError, YAMLMap } from 'yaml'
import { isAlias, isMap, isScalar, isSeq, LineCounter, parse, parseDocument, visit } from 'yaml'
import type { DefinitionProblem } from '../core/definition/definition.ts'
import { interpolate } from '../core/interpolate.ts'
import { isDeeper, pointer } from '../core/parameters.ts'
import type { FilledPlace } from './definition-redact.ts'
import { redactProblem } from './definition-redact.ts'
import { findExcess } from './definition-size.ts'
import { maskSecrets } from './definition-source.ts'

type Path = DefinitionProblem['path']

/** One thing wrong in a file. Lines and columns count from 1. */
export interface FileProblem {
  readonly file: string
  readonly line: number
  readonly column: number
  /** The keys that lead to it, such as `deploy.resources.limits.memory`; empty for the file as a whole. */
  readonly key: string
  /** The same as a URI fragment (RFC 6901). */
  readonly pointer: string
  readonly message: string
}

/** A definition's YAML, read, with its variables filled in. */
export interface DefinitionDocument {
  /** As written, with the values of secrets masked. */
  readonly source: Readonly<Record<string, unknown>>
  readonly value: unknown
  readonly warnings: readonly string[]
  /** The variables that were asked for and are not set, each with the first place of them. */
  readonly unset: ReadonlyMap<string, Path>
  readonly problems: readonly FileProblem[]
  /** Gives a problem its place in the file. */
  locate(problem: DefinitionProblem): FileProblem
}

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
  const at = (offset: number, path: Path, message: string): FileProblem => {
    const { line, col } = lines.linePos(offset)
    const place = { line: Math.max(line, 1), column: Math.max(col, 1) }
    const keys = { key: cut(path.join('.')), pointer: pointer(path) }
    return { file, ...place, ...keys, message: cut(message) }
  }
  const unreadable = (...problems: FileProblem[]): DefinitionDocument => ({
    source: {},
    value: undefined,
    warnings: [],
    unset: new Map(),
    problems,
    locate: ({ path, message }) => at(0, path, message),
  })
  if (Buffer.byteLength(text) > MAX_BYTES) {
    return unreadable(at(0, [], 'expected a file of at most 1 MiB'))
  }
  try {
    const options = { merge: true, prettyErrors: false, uniqueKeys: false }
    const document = parseDocument(text, { ...options, lineCounter: lines })
    // What comes after the first fault is most often its echo.
    const [fault] = [...document.errors, ...document.warnings]
    if (fault)
      return unreadable(
        at(fault.pos[0], [], `not YAML: ${reasonOf(fault)}${quoteHint(text, fault)}`),
      )
    const excess = findExcess(document)
    if (excess !== undefined) return unreadable(at(0, [], excess))
    const duplicate = findDuplicate(document)
    if (duplicate?.range) {
      return unreadable(at(duplicate.range[0], [], 'not YAML: the same key stands here twice'))
    }
    const written: unknown = document.toJS({ maxAliasCount: -1 })
    if (isDeeper(written, MAX_DEPTH)) {
      return unreadable(at(0, [], `expected at most ${MAX_DEPTH} levels, one within another`))
    }
    if (!isMap(document.contents)) {
      return unreadable(at(0, [], 'expected a map of keys such as image and command'))
    }
    const source = maskSecrets(written as Record<string, unknown>)
    const aliases = readAliases(document)
    const filled = fillIn(document.contents, aliases, environment)
    const locate = (problem: DefinitionProblem) => {
      const offset = offsetOf(document.contents, aliases, problem.path)
      return at(offset, problem.path, redactProblem(problem, filled.places))
    }
    return {
      source,
      value: filled.value,
      warnings: filled.warnings,
      unset: filled.unset,
      problems: firstOf(filled.problems).map(locate),
      locate,
    }
  } catch (error) {
    // The parser goes as deep as the text does, and refuses aliases that multiply.
    return unreadable(at(0, [], `not YAML: ${reasonOf(error as Error)}`))
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

/** `[${VAR}]` and `{ a: ${VAR} }` look right and are not: there, a brace begins a map. */
function quoteHint(text: string, { pos: [offset] }: YAMLError): string {
  const before = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset + 1)
  return before.includes('${') ? ': inside [ ] and { }, put quotes around ${…}' : ''
}

/** Texts of JSON Schema that are shown or matched, where a `$` is a `$`. */
const verbatim = new Set(['description', 'title', 'examples', 'pattern'])

/** What the document says once variables are filled in. Each value is read by where it is used, not where it is anchored. */
function fillIn(
  contents: unknown,
  aliases: Aliases,
  environment: Readonly<Record<string, string | undefined>>,
) {
  const problems: DefinitionProblem[] = []
  const unset = new Map<string, Path>()
  const places: FilledPlace[] = []

  function read(node: unknown, path: Path): unknown {
    const target = resolved(node, aliases)
    if (isSeq(target)) return target.items.map((item, index) => read(item, [...path, index]))
    if (isMap(target)) {
      const pairs = [...pairsOf(target, aliases)].filter(([key]) => !isPassedOver(path, key))
      return Object.fromEntries(pairs.map(([key, { value }]) => [key, read(value, [...path, key])]))
    }
    return isScalar(target) ? readScalar(target, path) : null
  }

  function readScalar({ value, source = '', type }: Scalar, path: Path): unknown {
    if (typeof value === 'number') return isKeptAsWritten(source, path) ? source : value
    if (typeof value !== 'string') return value
    if (value.includes('\0')) problems.push({ path, message: 'expected no NUL character' })
    else if (!isVerbatim(path)) return readText(value, type === 'PLAIN', path)
    return value
  }

  function readText(written: string, isPlain: boolean, path: Path): unknown {
    const filled = interpolate(written, environment)
    if (filled.problem) problems.push({ path, message: filled.problem })
    for (const name of filled.unset) if (!unset.has(name)) unset.set(name, path)
    if (Object.keys(filled.used).length > 0) places.push({ path, used: filled.used })
    const isTyped = path[0] === 'parameters' && isPlain && filled.text !== written
    return isTyped ? typed(filled.text) : filled.text
  }

  return {
    value: read(contents, []),
    problems,
    places,
    unset,
    warnings: [...unset.keys()]
      .slice(0, MAX_TOLD)
      .map((name) => `The variable ${cut(name)} is not set: it became empty.`),
  }
}

/** At the top a key such as `x-shared` only holds anchors: what they are is told where they are used. */
function isPassedOver(path: Path, key: string): boolean {
  return path.length === 0 && key.startsWith('x-')
}

/** `VERSION: 1.10` is not 1.1. With a leading 0, YAML 1.1 and 1.2 read different numbers: whoever takes it shall decide. */
function isKeptAsWritten(source: string, path: Path): boolean {
  return !(path[0] === 'parameters' || path[0] === 'triggers') || /^0o?\d/.test(source)
}

function isVerbatim(path: Path): boolean {
  // JSON paths and patterns.
  if (path[0] === 'triggers') return true
  if (path.length === 1) return path[0] === 'description'
  return path[0] === 'parameters' && isVerbatimKeyword(path.slice(2))
}

/** `keywords` lead from a schema to a value below it. A property may have a keyword's name. */
function isVerbatimKeyword([keyword, ...rest]: Path): boolean {
  if (keyword === 'properties') return isVerbatimKeyword(rest.slice(1))
  if (keyword === 'items' || keyword === 'additionalProperties') return isVerbatimKeyword(rest)
  return verbatim.has(String(keyword))
}

function typed(text: string): unknown {
  return /^(?:true|false|-?\d+(?:\.\d+)?)$/.test(text) ? parse(text) : text
}

/** What each alias stands for. */
type Aliases = ReadonlyMap<Alias, Node>

/** The parser's own search goes through the document for each alias again. */
function readAliases(document: Document): Aliases {
  const anchored = new Map<string, Node>()
  const aliases = new Map<Alias, Node>()
  visit(document, {
    Node(_, node) {
      const target = isAlias(node) && anchored.get(node.source)
      if (target) aliases.set(node, target)
      else if (!isAlias(node) && node.anchor) anchored.set(node.anchor, node)
    },
  })
  return aliases
}

function resolved(node: unknown, aliases: Aliases): unknown {
  return isAlias(node) ? aliases.get(node) : node
}

/** What a map holds by its keys, with what it merges. */
function pairsOf(map: YAMLMap, aliases: Aliases): Map<string, Pair> {
  const pairs = new Map<string, Pair>()
  for (const pair of map.items) {
    if (!isMerge(pair)) pairs.set(keyText(resolved(pair.key, aliases)), pair)
    else {
      const source = resolved(pair.value, aliases)
      for (const each of isSeq(source) ? source.items : [source]) {
        for (const [key, merged] of pairsOf(resolved(each, aliases) as YAMLMap, aliases)) {
          if (!pairs.has(key)) pairs.set(key, merged)
        }
      }
    }
  }
  return pairs
}

/** Most often it stands in the map itself, and nothing needs to be merged. */
function pairAt(map: YAMLMap, aliases: Aliases, key: string): Pair | undefined {
  const own = map.items.find((pair) => keyText(resolved(pair.key, aliases)) === key)
  return own ?? pairsOf(map, aliases).get(key)
}

/** A `<<` in quotes is a key like any other. */
function isMerge({ key }: Pair): boolean {
  return isScalar(key) && typeof key.value === 'symbol'
}

/** Where `path`, or as much of it as stands in the file, begins. */
function offsetOf(contents: unknown, aliases: Aliases, path: Path): number {
  let offset = 0
  let node = contents
  for (const key of path) {
    const target = resolved(node, aliases)
    if (isMap(target)) {
      const pair = pairAt(target, aliases, String(key))
      if (!pair) return offset
      offset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(target)) {
      node = target.items[Number(key)]
      offset = (node as Node | undefined)?.range?.[0] ?? offset
    } else return offset
  }
  return offset
}

function keyText(key: unknown): string {
  return String(isScalar(key) ? (key.value ?? '') : key)
}
