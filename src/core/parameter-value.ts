import * as z from 'zod'
import { isMap } from './definition/shape.ts'
import type { Pattern } from './pattern.ts'
import { compilePattern } from './pattern.ts'

export const types = ['string', 'number', 'integer', 'boolean', 'array', 'object'] as const
export type ValueType = (typeof types)[number]

/**
 * One JSON Schema property: the part of JSON Schema 2020-12 that says something about one value. `required: true` may
 * stand on any property; an object may list names instead, as JSON Schema has it.
 */
export interface ValueSchema {
  readonly type: ValueType
  readonly title?: string
  readonly description?: string
  readonly examples?: readonly unknown[]
  readonly default?: unknown
  readonly required?: boolean | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly format?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly exclusiveMaximum?: number
  readonly multipleOf?: number
  readonly items?: ValueSchema
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
  readonly properties?: Readonly<Record<string, ValueSchema>>
  readonly additionalProperties?: boolean | ValueSchema
  readonly minProperties?: number
  readonly maxProperties?: number
}

export interface ValueProblem {
  readonly path: readonly (string | number)[]
  readonly detail: string
}

/** RFC 3339's full-time, which has an offset; ISO's has none. */
const time = /^(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

/** RFC 3986's characters: zod would check a URL that is trimmed, and the function gets what was given. */
const uri = /^[a-z][a-z0-9+.-]*:(?:(?!["<>\\^`{|}])[!-~])+$/i

/** JSON Schema's formats, as zod checks them. */
export const formats: Readonly<Record<string, z.ZodType>> = {
  uri: z.string().regex(uri).pipe(z.url()),
  email: z.email(),
  date: z.iso.date(),
  time: z.string().regex(time),
  'date-time': z.iso.datetime({ offset: true }),
  duration: z.iso.duration(),
  uuid: z.guid(),
  ipv4: z.ipv4(),
  ipv6: z.ipv6(),
  hostname: z.hostname(),
}

/** Everything about `value` that `schema` refuses, and the value with the defaults of its properties filled in. */
export function checkValue(
  schema: ValueSchema,
  value: unknown,
): { readonly value: unknown; readonly problems: readonly ValueProblem[] } {
  const problems: ValueProblem[] = []
  const checked = check(schema, value, [], (path, detail) => problems.push({ path, detail }))
  return { value: checked, problems }
}

type Path = readonly (string | number)[]
type Report = (path: Path, detail: string) => void

function check(schema: ValueSchema, value: unknown, path: Path, report: Report): unknown {
  if (!hasType(schema.type, value)) {
    report(path, `expected ${nouns[schema.type]}`)
    return value
  }
  if (schema.enum && !schema.enum.includes(value)) {
    report(path, `expected one of ${listChoices(schema.enum)}`)
  }
  if (schema.const !== undefined && schema.const !== value) {
    report(path, `expected ${JSON.stringify(schema.const)}`)
  }
  if (typeof value === 'string') checkText(schema, value, path, report)
  if (typeof value === 'number') checkNumber(schema, value, path, report)
  if (Array.isArray(value)) return checkItems(schema, value, path, report)
  return isMap(value) ? checkProperties(schema, value, path, report) : value
}

/** The most choices that one problem lists: there may be as many problems as values. */
const MAX_LISTED = 20

function listChoices(choices: readonly unknown[]): string {
  const listed = choices.slice(0, MAX_LISTED).map((choice) => JSON.stringify(choice))
  return [...listed, ...(choices.length > MAX_LISTED ? ['…'] : [])].join(', ')
}

function checkText(schema: ValueSchema, value: string, path: Path, report: Report): void {
  const { minLength = 0, maxLength = Infinity, pattern, format } = schema
  // JSON Schema counts characters, not UTF-16 units.
  const length = Array.from(value).length
  if (length < minLength) report(path, `expected at least ${minLength} characters`)
  if (length > maxLength) report(path, `expected at most ${maxLength} characters`)
  if (pattern !== undefined && !compiled(schema)?.matches(value)) {
    report(path, `expected a text that matches ${pattern}`)
  }
  if (format !== undefined && !formats[format]!.safeParse(value).success) {
    report(path, `expected a text of format ${format}`)
  }
}

const patterns = new WeakMap<ValueSchema, Pattern>()

/** Once a schema: compiling takes longer than most matches. */
function compiled(schema: ValueSchema): Pattern | undefined {
  const known = patterns.get(schema) ?? compilePattern(schema.pattern!)
  if (known) patterns.set(schema, known)
  return known
}

function checkNumber(schema: ValueSchema, value: number, path: Path, report: Report): void {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = schema
  if (minimum !== undefined && value < minimum) report(path, `expected at least ${minimum}`)
  if (maximum !== undefined && value > maximum) report(path, `expected at most ${maximum}`)
  if (exclusiveMinimum !== undefined && value <= exclusiveMinimum) {
    report(path, `expected more than ${exclusiveMinimum}`)
  }
  if (exclusiveMaximum !== undefined && value >= exclusiveMaximum) {
    report(path, `expected less than ${exclusiveMaximum}`)
  }
  if (multipleOf !== undefined && !z.number().multipleOf(multipleOf).safeParse(value).success) {
    report(path, `expected a multiple of ${multipleOf}`)
  }
}

function checkItems(schema: ValueSchema, items: unknown[], path: Path, report: Report) {
  const { minItems = 0, maxItems = Infinity, uniqueItems, items: item } = schema
  if (items.length < minItems) report(path, `expected at least ${minItems} items`)
  if (items.length > maxItems) report(path, `expected at most ${maxItems} items`)
  if (uniqueItems && new Set(items.map(canonical)).size < items.length) {
    report(path, 'expected items that all differ')
  }
  return item ? items.map((value, index) => check(item, value, [...path, index], report)) : items
}

function checkProperties(
  schema: ValueSchema,
  object: Record<string, unknown>,
  path: Path,
  report: Report,
) {
  const { properties = {}, additionalProperties = true } = schema
  const { minProperties = 0, maxProperties = Infinity } = schema
  const entries: [string, unknown][] = []
  for (const [name, value] of Object.entries(object)) {
    const own = Object.hasOwn(properties, name) ? properties[name]! : additionalProperties
    if (own === false) report([...path, name], 'there is no such property')
    entries.push([name, isSchema(own) ? check(own, value, [...path, name], report) : value])
  }
  if (entries.length < minProperties) report(path, `expected at least ${minProperties} properties`)
  if (entries.length > maxProperties) report(path, `expected at most ${maxProperties} properties`)
  for (const name of requiredOf(schema)) {
    if (!Object.hasOwn(object, name)) report([...path, name], 'is required')
  }
  for (const [name, { default: fallback }] of Object.entries(properties)) {
    if (fallback !== undefined && !Object.hasOwn(object, name)) {
      entries.push([name, checkValue(properties[name]!, fallback).value])
    }
  }
  return Object.fromEntries(entries)
}

const nouns: Readonly<Record<ValueType, string>> = {
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
}

function hasType(type: ValueType, value: unknown): boolean {
  switch (type) {
    case 'number':
      return Number.isFinite(value)
    case 'integer':
      // Beyond 2^53 a number is no longer the one that was written.
      return Number.isSafeInteger(value)
    case 'array':
      return Array.isArray(value)
    case 'object':
      return isMap(value)
    case 'string':
    case 'boolean':
      return typeof value === type
  }
}

function isSchema(value: boolean | ValueSchema): value is ValueSchema {
  return typeof value === 'object'
}

/** The names that an object must hold. */
export function requiredOf(schema: Pick<ValueSchema, 'properties' | 'required'>): string[] {
  const listed = Array.isArray(schema.required) ? (schema.required as readonly string[]) : []
  const marked = Object.entries(schema.properties ?? {}).filter(
    ([, item]) => item.required === true,
  )
  return [...new Set([...listed, ...marked.map(([name]) => name)])]
}

/** Equal texts for values that JSON Schema calls equal. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    isMap(inner) ? Object.fromEntries(Object.entries(inner).sort(byKey)) : inner,
  )
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}
