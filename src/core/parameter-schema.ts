import * as z from 'zod'
import {
  describe,
  isMap,
  listOf,
  mapping,
  oneOf,
  recordOf,
  refuse,
  scalar,
} from './definition/shape.ts'
import type { ValueSchema, ValueType } from './parameter-value.ts'
import { compilePattern } from './pattern.ts'
import { checkValue, formats, requiredOf, types } from './parameter-value.ts'

/** What a call may give for one parameter; see `ValueSchema`. */
export type ParameterSchema = ValueSchema

const text = scalar('a text', (value) => (typeof value === 'string' ? value : undefined))
const flag = scalar('true or false', (value) => (typeof value === 'boolean' ? value : undefined))
const count = scalar('a whole number of at least 0', (value) =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined,
)
const bound = scalar('a number', (value) => (typeof value === 'number' ? value : undefined))
const step = scalar('a number above 0', (value) =>
  typeof value === 'number' && value > 0 ? value : undefined,
)
const pattern = scalar(
  'a regular expression of at most 1000 characters, without back references and looking around',
  (value) =>
    typeof value === 'string' && value.length <= 1000 && compilePattern(value) ? value : undefined,
)
const plain = scalar('a text, a number, true or false', (value) =>
  typeof value === 'object' ? undefined : value,
)
const nested: z.ZodType<ParameterSchema> = z.lazy(() => ParameterSchema)

const shape = {
  type: scalar(`one of ${types.join(', ')}`, (value) => types.find((type) => type === value)),
  title: text.exactOptional(),
  description: text.exactOptional(),
  examples: listOf(z.unknown(), 'a list of values').exactOptional(),
  default: z.unknown().exactOptional(),
  required: oneOf('true, false, or a list of names', {
    text: flag,
    list: z.array(text),
  }).exactOptional(),
  enum: listOf(plain, 'a list of values').exactOptional(),
  const: plain.exactOptional(),
  format: scalar(`one of ${Object.keys(formats).join(', ')}`, (value) =>
    Object.keys(formats).find((format) => format === value),
  ).exactOptional(),
  minLength: count.exactOptional(),
  maxLength: count.exactOptional(),
  pattern: pattern.exactOptional(),
  minimum: bound.exactOptional(),
  maximum: bound.exactOptional(),
  exclusiveMinimum: bound.exactOptional(),
  exclusiveMaximum: bound.exactOptional(),
  multipleOf: step.exactOptional(),
  items: nested.exactOptional(),
  minItems: count.exactOptional(),
  maxItems: count.exactOptional(),
  uniqueItems: flag.exactOptional(),
  properties: recordOf(nested).exactOptional(),
  additionalProperties: oneOf('true, false, or a schema', {
    text: flag,
    map: nested,
  }).exactOptional(),
  minProperties: count.exactOptional(),
  maxProperties: count.exactOptional(),
}

const unsupported = 'this part of JSON Schema is not supported; check it in the function'
const refused = Object.fromEntries(
  [
    '$ref',
    '$defs',
    'allOf',
    'anyOf',
    'oneOf',
    'not',
    'if',
    'then',
    'else',
    'contains',
    'prefixItems',
  ]
    .concat(['patternProperties', 'propertyNames', 'dependentRequired', 'dependentSchemas'])
    .concat(['nullable', 'contentEncoding', 'unevaluatedProperties'])
    .map((keyword) => [keyword, unsupported]),
)

const forType: Readonly<Record<ValueType, readonly string[]>> = {
  string: ['format', 'minLength', 'maxLength', 'pattern'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  boolean: [],
  array: ['items', 'minItems', 'maxItems', 'uniqueItems'],
  object: ['properties', 'additionalProperties', 'minProperties', 'maxProperties'],
}
const typed = new Set(Object.values(forType).flat())

/** Its input is what a definition's author wrote; a default, an enum or a const that its own schema refuses is an issue. */
export const ParameterSchema = mapping(shape, refused).transform(
  (schema, context): ParameterSchema => {
    for (const keyword of Object.keys(schema)) {
      if (typed.has(keyword) && !forType[schema.type].includes(keyword)) {
        refuse(context, `says nothing about a value of type ${schema.type}`, { path: [keyword] })
      }
    }
    if (Array.isArray(schema.required) && schema.type !== 'object') {
      refuse(context, `expected true or false, got ${describe(schema.required)}`, {
        path: ['required'],
      })
    }
    const { default: fallback, ...rest } = schema
    if (schema.type === 'array' || schema.type === 'object') {
      for (const keyword of ['enum', 'const'].filter((each) => Object.hasOwn(schema, each))) {
        refuse(context, `is for single values, not for type ${schema.type}`, { path: [keyword] })
      }
    } else {
      for (const [index, choice] of (schema.enum ?? []).entries()) {
        tell(checkValue({ type: schema.type }, choice).problems, ['enum', index])
      }
      if (schema.const !== undefined) {
        tell(checkValue({ type: schema.type }, schema.const).problems, ['const'])
      }
    }
    if (fallback !== undefined) tell(checkValue(rest, fallback).problems, ['default'])
    if (fallback !== undefined && schema.required === true) {
      refuse(context, 'a required parameter never takes its default', { path: ['default'] })
    }
    return schema

    function tell(problems: ReturnType<typeof checkValue>['problems'], at: (string | number)[]) {
      for (const { path, detail } of problems) refuse(context, detail, { path: [...at, ...path] })
    }
  },
)

/** Plain JSON Schema of an object that holds these properties and no others. */
export function toJsonSchema(
  properties: Readonly<Record<string, ParameterSchema>>,
): Record<string, unknown> {
  return objectSchema({ type: 'object', properties, additionalProperties: false })
}

function plainSchema(schema: ParameterSchema): Record<string, unknown> {
  if (schema.type === 'object') return objectSchema(schema)
  const { required: _, items, ...rest } = schema
  return { ...rest, ...(items && { items: plainSchema(items) }) }
}

function objectSchema(schema: ParameterSchema): Record<string, unknown> {
  const { required: _, properties, additionalProperties, ...rest } = schema
  const required = requiredOf(schema)
  const plainProperties = Object.entries(properties ?? {}).map(([name, item]) => [
    name,
    plainSchema(item),
  ])
  return {
    ...rest,
    ...(properties && { properties: Object.fromEntries(plainProperties) }),
    ...(required.length > 0 && { required }),
    ...(additionalProperties !== undefined && {
      additionalProperties: isMap(additionalProperties)
        ? plainSchema(additionalProperties as unknown as ParameterSchema)
        : additionalProperties,
    }),
  }
}
