import type { Violation } from './error.ts'
import { OneshotError } from './error.ts'
import type { FunctionSpec } from './function.ts'
import type { ParameterSchema } from './parameter-schema.ts'
import { checkValue } from './parameter-value.ts'
import { fillPlaceholders } from './template.ts'

export { ParameterSchema } from './parameter-schema.ts'

/** What JSON can say, null left out. */
export type ParameterValue = unknown
type Schemas = Readonly<Record<string, ParameterSchema>>
type Values = Readonly<Record<string, ParameterValue>>

/** `execve` takes no more than 128 KiB for one variable, its name included. */
export const MAX_VARIABLE_BYTES = 100 * 1024
export const MAX_PARAMETERS_BYTES = 1024 * 1024
const MAX_DEPTH = 64
/** `execve` takes no more for one argument or variable, its end included, whatever the stack's limit is. */
export const MAX_WORD_BYTES = 128 * 1024 - 1
/** And for all together a quarter of the stack, commonly 8 MiB: some of it is left to what the image brings. */
export const MAX_WORDS_BYTES = 1792 * 1024
/** Of each its end, and a pointer to it. */
export const WORD_OVERHEAD = 9
/** The most violations that are told of one call, and the longest key that is told in full. */
const MAX_TOLD = 20
const MAX_KEY = 100

export interface ParameterInput {
  readonly query?: URLSearchParams
  /** The JSON object of the parameters, already parsed. */
  readonly json?: unknown
}

/**
 * The values of a call, its defaults filled in. Throws `parameters_invalid` with a violation for each parameter that is
 * unknown, missing or wrong, its pointer `#/name`; of many, the first. In a query a list is written by repetition and an object as JSON.
 */
export function parseParameters(schemas: Schemas, input: ParameterInput): Values {
  const violations: Violation[] = []
  const given = gather(schemas, input, violations)
  const values: [string, ParameterValue][] = []
  for (const [name, schema] of Object.entries(schemas)) {
    if (given.has(name)) {
      const value = accept(name, schema, given.get(name), violations)
      values.push([name, value])
    } else if (schema.default !== undefined) {
      values.push([name, defaultOf(schema)])
    } else if (
      schema.required === true &&
      !violations.some(({ pointer: at }) => at === pointer([name]))
    ) {
      violations.push({ pointer: pointer([name]), detail: 'is required' })
    }
  }
  if (violations.length === 0) checkTotal(values, violations)
  if (violations.length > 0) {
    const told = violations.slice(0, MAX_TOLD)
    const more = violations.length - told.length
    if (more > 0) told.push({ pointer: '#', detail: `and ${more} more mistakes` })
    const reasons = told.map(({ pointer: at, detail }) => `${at} ${detail}`).join('; ')
    throw new OneshotError('parameters_invalid', `Correct the parameters: ${reasons}.`, {
      violations: told,
    })
  }
  return Object.fromEntries(values)
}

/** With the defaults of its properties. */
function defaultOf(schema: ParameterSchema): ParameterValue {
  return checkValue(schema, schema.default).value
}

/** The environment of a call that gives nothing. */
export function toDefaultEnvironment(schemas: Schemas): Record<string, string> {
  const given = Object.entries(schemas).filter(([, schema]) => schema.default !== undefined)
  return toEnvironment(Object.fromEntries(given.map(([name, schema]) => [name, defaultOf(schema)])))
}

/** As a function finds them in its environment: texts as they are, numbers and booleans as text, the rest as JSON. */
export function toEnvironment(values: Values): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, toText(value)]))
}

/**
 * What runs, for every engine: parameters put where `${{ name }}` stands, each within its one argument or variable.
 * Throws `parameters_invalid` if the result is longer than what a program can be started with.
 */
export function resolve(
  spec: FunctionSpec,
  values: Values,
): {
  command?: readonly string[]
  entrypoint?: readonly string[]
  environment: Readonly<Record<string, string>>
} {
  const parameters = toEnvironment(values)
  const fill = (text: string) =>
    fillPlaceholders(text, (name) => {
      if (Object.hasOwn(parameters, name)) return parameters[name]!
      throw new OneshotError('parameters_invalid', `The parameter ${name} has no value.`, {
        violations: [{ pointer: pointer([name]), detail: 'is required' }],
      })
    })
  const { command, entrypoint, environment } = spec.container
  const variables = Object.entries(environment).map(([key, value]) => [key, fill(value)] as const)
  const resolved = {
    ...(command && { command: command.map(fill) }),
    ...(entrypoint && { entrypoint: entrypoint.map(fill) }),
    environment: { ...Object.fromEntries(variables), ...parameters },
  }
  checkLengths(resolved)
  return resolved
}

function checkLengths({ command = [], entrypoint = [], environment }: ReturnType<typeof resolve>) {
  const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  let total = 0
  for (const word of [...entrypoint, ...command, ...assignments]) {
    const bytes = byteLength(word)
    total += bytes + WORD_OVERHEAD
    if (bytes > MAX_WORD_BYTES) tooLong('an argument or variable longer than 128 KiB')
  }
  if (total > MAX_WORDS_BYTES) tooLong('a command and an environment longer than 1.75 MiB together')
}

function tooLong(what: string): never {
  const detail = `make ${what}: send what is long as the body`
  throw new OneshotError('parameters_invalid', `The parameters ${detail}.`, {
    violations: [{ pointer: '#', detail }],
  })
}

function gather(schemas: Schemas, { query, json }: ParameterInput, violations: Violation[]) {
  const given = new Map<string, ParameterValue>()
  let hint = knownNames(schemas)
  const refuseUnknown = (name: string) => {
    violations.push({ pointer: pointer([name]), detail: `there is no such parameter${hint}` })
    hint = ''
  }
  for (const name of new Set(query?.keys())) {
    if (!Object.hasOwn(schemas, name)) refuseUnknown(name)
    else given.set(name, fromQuery(schemas[name]!, query!.getAll(name)))
  }
  if (json === undefined) return given
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    violations.push({ pointer: '#', detail: 'expected a JSON object of parameters' })
    return given
  }
  for (const [name, value] of Object.entries(json)) {
    if (!Object.hasOwn(schemas, name)) refuseUnknown(name)
    else if (given.delete(name)) {
      const detail = 'is given twice, in the query and in the body: leave one out'
      violations.push({ pointer: pointer([name]), detail })
    } else given.set(name, value)
  }
  return given
}

function accept(
  name: string,
  schema: ParameterSchema,
  given: ParameterValue,
  violations: Violation[],
): ParameterValue {
  const refuse = (detail: string, path: readonly (string | number)[] = []) =>
    violations.push({ pointer: pointer([name, ...path]), detail })
  if (isDeeper(given, MAX_DEPTH)) {
    refuse(`is nested more than ${MAX_DEPTH} levels deep`)
    return given
  }
  // Before the schema: no pattern ever meets a longer text.
  const text = toText(given)
  if (byteLength(`${name}=${text}`) > MAX_VARIABLE_BYTES) {
    refuse(
      `is longer than ${MAX_VARIABLE_BYTES / 1024} KiB: send it as the body, without parameters`,
    )
    return given
  }
  if (text.includes('\0')) {
    refuse('contains a NUL character, which no variable can hold')
    return given
  }
  const { value, problems } = checkValue(schema, given)
  for (const { path, detail } of problems) refuse(detail, path)
  return value
}

function checkTotal(values: readonly [string, ParameterValue][], violations: Violation[]): void {
  const bytes = values.map(([name, value]) => byteLength(`${name}=${toText(value)}`))
  if (bytes.reduce((sum, each) => sum + each, 0) > MAX_PARAMETERS_BYTES) {
    violations.push({ pointer: '#', detail: 'are longer than 1 MiB together' })
  }
}

const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const booleans = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false],
])

/** What can't be read as the schema's type stays a text, for the schema to refuse. */
function fromQuery(schema: ParameterSchema, texts: readonly string[]): ParameterValue {
  if (schema.type === 'array') {
    return texts.map((text) => (schema.items ? fromQuery(schema.items, [text]) : text))
  }
  if (texts.length > 1) return texts
  const text = texts[0]!
  switch (schema.type) {
    case 'string':
      return text
    case 'number':
    case 'integer':
      return number.test(text) ? Number(text) : text
    case 'boolean':
      return booleans.get(text) ?? text
    case 'object':
      return fromJson(text)
  }
}

function fromJson(text: string): ParameterValue {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function knownNames(schemas: Schemas): string {
  const names = Object.keys(schemas)
  return names.length > 0
    ? `: those of this function are ${names.join(', ')}`
    : ': this function has none'
}

/** Whether lists and maps stand more than `levels` within one another. */
export function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1))
}

function toText(value: ParameterValue): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

/** To what is at `path` of a request's body (RFC 6901, as a URI fragment). A long key is cut. */
export function pointer(path: readonly (string | number)[]): string {
  if (path.length === 0) return '#'
  const keys = path.map((key) => cut(String(key)))
  const tokens = keys.map((key) => key.replaceAll('~', '~0').replaceAll('/', '~1'))
  return `#/${tokens.map((token) => encodeURIComponent(token.toWellFormed())).join('/')}`
}

function cut(key: string): string {
  return key.length <= MAX_KEY ? key : `${key.slice(0, MAX_KEY)}…`
}

export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length
}
