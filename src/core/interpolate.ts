import { placeholder } from './template.ts'

export interface Interpolation {
  readonly text: string
  /** Variables that are not set and have no default: they became empty. */
  readonly unset: readonly string[]
  /** The values that were put in, by name. */
  readonly used: Readonly<Record<string, string>>
  /** What is wrong with it; `text` means nothing then. */
  readonly problem?: string
}

export type Variables = Readonly<Record<string, string | undefined>>

/** An object answers to names such as `constructor` too, which nobody has set. */
export function valueOf(variables: Variables, name: string): string | undefined {
  return Object.hasOwn(variables, name) ? variables[name] : undefined
}

/** No command and no environment can be much longer, however often a variable is asked for. */
export const MAX_LENGTH = 1792 * 1024

/** Thrown and caught in this file: what is wrong can stand deep inside nested defaults. */
class InterpolationError extends Error {}

/**
 * Compose's `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?error}`, `${VAR?error}`, `${VAR:+other}`,
 * `${VAR+other}` and `$$`, defaults nested at will. `${{ name }}` becomes a placeholder, its spaces optional.
 */
export function interpolate(text: string, variables: Variables): Interpolation {
  return interpolateBy(text, (name) => valueOf(variables, name))
}

type Lookup = (name: string) => string | undefined

/** `interpolate`, where the variables are no one object. */
export function interpolateBy(text: string, lookup: Lookup): Interpolation {
  const unset = new Set<string>()
  const used: Record<string, string> = {}
  try {
    const reader = new Reader(text, lookup, unset, used)
    return { text: reader.readToEnd(), unset: [...unset], used }
  } catch (error) {
    if (!(error instanceof InterpolationError)) throw error
    return { text, unset: [], used, problem: error.message }
  }
}

const bare = /[A-Za-z_]\w*/y
const ours = /\{\{\s*([A-Za-z_]\w*)\s*\}\}/y
const MAX_DEPTH = 64
const operators = [':-', ':?', ':+', '-', '?', '+'] as const
type Operator = (typeof operators)[number]

class Reader {
  #at = 0
  #depth = 0
  readonly #text: string
  readonly #lookup: Lookup
  readonly #unset: Set<string>
  readonly #used: Record<string, string>

  constructor(text: string, lookup: Lookup, unset: Set<string>, used: Record<string, string>) {
    this.#text = text
    this.#lookup = lookup
    this.#unset = unset
    this.#used = used
  }

  readToEnd(): string {
    return this.#readUntil(undefined, true)
  }

  /** Reads to `end`, which is left unread. What is not `live` is skipped: a branch not taken asks for nothing. */
  #readUntil(end: '}' | undefined, live: boolean): string {
    let result = ''
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at]!
      if (character === end) return result
      this.#at++
      result += character === '$' ? this.#readDollar(live) : character
      if (result.length > MAX_LENGTH) {
        throw new InterpolationError('the text becomes longer than 1.75 MiB')
      }
    }
    if (end) throw new InterpolationError(`\${ is never closed: expected ${end}`)
    return result
  }

  #readDollar(live: boolean): string {
    if (this.#take('$')) return '$'
    if (this.#text.startsWith('{{', this.#at)) return placeholder(this.#readParameter())
    if (this.#take('{')) return this.#readBraced(live)
    const name = this.#match(bare)
    if (!name) {
      throw new InterpolationError(
        'a lone $ means nothing: write $$ for one that is meant as it is',
      )
    }
    return live ? this.#read(name[0]) : ''
  }

  #readParameter(): string {
    const match = this.#match(ours)
    if (!match) throw new InterpolationError('expected the name of a parameter, as in ${{ name }}')
    return match[1]!
  }

  #readBraced(live: boolean): string {
    const name = this.#match(bare)?.[0]
    if (!name) throw new InterpolationError('expected the name of a variable after ${')
    const operator = operators.find((each) => this.#take(each))
    if (operator) return this.#readOperand(name, operator, live)
    if (!this.#take('}')) throw new InterpolationError(`\${${name} is never closed: expected }`)
    return live ? this.#read(name) : ''
  }

  #readOperand(name: string, operator: Operator, live: boolean): string {
    const value = this.#lookup(name)
    const isSet = operator.startsWith(':') ? Boolean(value) : value !== undefined
    const kind = operator.at(-1)
    const start = this.#at
    if (++this.#depth > MAX_DEPTH) throw new InterpolationError('defaults are nested too deeply')
    const operand = this.#readUntil('}', live && (kind === '+' ? isSet : !isSet))
    const written = this.#text.slice(start, this.#at)
    this.#take('}')
    this.#depth--
    if (!live) return ''
    if (kind === '+') return isSet ? operand : ''
    if (isSet) return this.#read(name)
    if (kind === '-') return operand
    // As written, because a variable in it may be a secret.
    throw new InterpolationError(
      `the variable ${name} must be set where the gateway runs${written && `: ${written}`}`,
    )
  }

  #read(name: string): string {
    const value = this.#lookup(name)
    if (value === undefined) this.#unset.add(name)
    else this.#used[name] = value
    return value ?? ''
  }

  #take(expected: string): boolean {
    if (!this.#text.startsWith(expected, this.#at)) return false
    this.#at += expected.length
    return true
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match) this.#at = pattern.lastIndex
    return match
  }
}
