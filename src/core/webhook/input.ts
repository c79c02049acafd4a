import { OneshotError } from '../error.ts'
import type { ParameterSchema, ParameterValue } from '../parameters.ts'
import { MAX_VARIABLE_BYTES, byteLength, parseParameters, toEnvironment } from '../parameters.ts'
import type { Mapped, WebhookInput } from '../trigger.ts'
import type { HookContent } from './request.ts'
import { findSelected } from './selector.ts'

type Schemas = Readonly<Record<string, ParameterSchema>>

export interface HookInput {
  /** The function's, its defaults filled in. */
  readonly parameters: Readonly<Record<string, ParameterValue>>
  /** Variables beyond those of the definition. */
  readonly environment: Readonly<Record<string, string>>
}

/** Of all variables together, with their names: each invocation's record holds them. */
const MAX_ENVIRONMENT_BYTES = 64 * 1024

/**
 * What a delivery becomes. Throws `parameters_invalid` for what the function does not take, or what no variable can hold.
 *
 * What is nowhere in the delivery, or null, counts as not given. A text, number or boolean is read as a query's text would be where it is not of the parameter's
 * type already. What a path with a wildcard leads to is a list. Variables: texts as they are, numbers and booleans as text, the rest as JSON.
 */
export function toHookInput(
  input: Pick<WebhookInput, 'parameters' | 'environment'>,
  schemas: Schemas,
  content: HookContent,
): HookInput {
  const query = new URLSearchParams()
  const json: [string, unknown][] = []
  for (const [name, mapped] of Object.entries(input.parameters)) {
    const value = valueOf(mapped, content, ['parameters', name])
    if (value === undefined) continue
    const texts = toTexts(Object.hasOwn(schemas, name) ? schemas[name] : undefined, value)
    for (const text of texts ?? []) query.append(name, text)
    if (!texts) json.push([name, value])
  }
  return {
    parameters: parseParameters(schemas, { query, json: Object.fromEntries(json) }),
    environment: toVariables(input.environment, content),
  }
}

/** As a query would write it. Undefined: it is of its type already, or no query could. */
function toTexts(
  schema: ParameterSchema | undefined,
  value: ParameterValue,
): readonly string[] | undefined {
  const isList = schema?.type === 'array'
  const type = isList ? schema.items?.type : schema?.type
  const expected = type === 'integer' ? 'number' : type
  const values = isList && Array.isArray(value) ? value : [value]
  // What is too long is refused before it is read.
  if (!values.every((each) => isScalar(each) && String(each).length <= MAX_VARIABLE_BYTES)) {
    return undefined
  }
  const hasType = values.every((each) => expected === undefined || typeof each === expected)
  const isTyped = hasType && isList === Array.isArray(value)
  return isTyped || values.length === 0 ? undefined : values.map(String)
}

function toVariables(
  mappings: WebhookInput['environment'],
  content: HookContent,
): Readonly<Record<string, string>> {
  const found = Object.entries(mappings).map(
    ([name, mapped]) => [name, valueOf(mapped, content, ['environment', name])] as const,
  )
  const given = found.filter(([, value]) => value !== undefined)
  const environment = toEnvironment(Object.fromEntries(given))
  let bytes = 0
  for (const [name, text] of Object.entries(environment)) {
    if (text.includes('\0')) {
      refuse(['environment', name], 'contains a NUL character, which no variable can hold')
    }
    bytes += byteLength(`${name}=${text}`)
  }
  if (bytes > MAX_ENVIRONMENT_BYTES) {
    refuse(['environment'], 'is longer than 64 KiB: have the function read the body')
  }
  return environment
}

function valueOf(mapped: Mapped, content: HookContent, at: readonly string[]): ParameterValue {
  if ('value' in mapped) return mapped.value ?? undefined
  const values = findSelected(mapped, content)
  if (!values) return refuse(at, 'leads to more than 10,000 values')
  if (values.length === 0) return undefined
  const isList = 'path' in mapped && mapped.path.some((segment) => 'wildcard' in segment)
  return isList || values.length > 1 ? values : (values[0] ?? undefined)
}

function isScalar(value: ParameterValue): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function refuse(at: readonly string[], detail: string): never {
  const tokens = at.map((each) => each.replaceAll('~', '~0').replaceAll('/', '~1'))
  const pointer = `#/${tokens.map((token) => encodeURIComponent(token.toWellFormed())).join('/')}`
  throw new OneshotError('parameters_invalid', `Correct the delivery: ${pointer} ${detail}.`, {
    violations: [{ pointer, detail }],
  })
}
