import * as z from 'zod'
import { showPlaceholders } from '../template.ts'

/** One thing wrong with a definition, at the keys that lead to it. */
export interface DefinitionProblem {
  readonly path: readonly (string | number)[]
  /** What was expected. */
  readonly message: string
  /** The keys that could have stood there, if the last key of `path` is an unknown one. */
  readonly known?: readonly string[]
}

/** Takes note of a problem. */
export type Report = (path: DefinitionProblem['path'], message: string) => void

type Context = z.core.$RefinementCtx

/** Refuses the value read, with what was expected. */
export function refuse(context: Context, message: string, details: object = {}): never {
  context.issues.push({ code: 'custom', input: undefined, message, ...details })
  // Zod looks at the issues before it looks at the value.
  return z.NEVER
}

/** Reads one scalar; `read` gives undefined for what it does not take. */
export function scalar<T>(expected: string, read: (value: unknown) => T | undefined) {
  return z
    .unknown()
    .transform(
      (value, context): T =>
        read(value) ?? refuse(context, `expected ${expected}, got ${describe(value)}`),
    )
}

/**
 * A map of the keys in `shape`. A key that is null counts as absent, and `x-…` is passed over, as in Compose.
 * `refused` tells of keys that are known but not taken why.
 */
export function mapping<S extends z.ZodRawShape>(
  shape: S,
  refused: Readonly<Record<string, string>> = {},
) {
  const object = z.object(shape)
  // A function, because zod writes out all that an issue holds, for each of what may be many.
  const known = () => Object.keys(shape)
  return z.unknown().transform((value, context): z.output<typeof object> => {
    if (!isMap(value)) return refuse(context, `expected a map, got ${describe(value)}`)
    for (const key of Object.keys(value)) {
      if (Object.hasOwn(shape, key) || key.startsWith('x-')) continue
      if (Object.hasOwn(refused, key)) {
        refuse(context, `${key} is not taken: ${refused[key]}`, { path: [key] })
      } else {
        refuse(context, 'unknown key', { path: [key], params: { known } })
      }
    }
    const present = Object.entries(value).filter(([, item]) => item !== null)
    return adopt(object.safeParse(Object.fromEntries(present)), context)
  })
}

interface Branches {
  readonly text?: z.ZodType
  readonly list?: z.ZodType
  readonly map?: z.ZodType
}

/**
 * Chooses the branch by the value's own shape, so that a mistake inside is told of at its place. `show` puts what is
 * there instead into words.
 */
export function oneOf<B extends Branches>(expected: string, branches: B, show = describe) {
  type Output = z.output<Extract<B[keyof B], z.ZodType>>
  return z.unknown().transform((value, context): Output => {
    const branch = branches[shapeOf(value)]
    if (!branch) return refuse(context, `expected ${expected}, got ${show(value)}`)
    return adopt(branch.safeParse(value), context) as Output
  })
}

/** Chooses the branch by what stands under `key` of a map: the branch reads the whole map, that key included. */
export function taggedBy<B extends Readonly<Record<string, z.ZodType>>>(key: string, branches: B) {
  const names = Object.keys(branches).join(', ')
  return z.unknown().transform((value, context): z.output<B[keyof B]> => {
    if (!isMap(value)) return refuse(context, `expected a map, got ${describe(value)}`)
    const tag = value[key]
    if (typeof tag !== 'string' || !Object.hasOwn(branches, tag)) {
      return refuse(context, `expected one of ${names}, got ${describe(tag)}`, { path: [key] })
    }
    return adopt(branches[tag]!.safeParse(value), context) as z.output<B[keyof B]>
  })
}

/** A map from free keys to what `item` reads. Null is given to `item` as it is. */
export function recordOf<T extends z.ZodType>(item: T) {
  return z.unknown().transform((value, context): Record<string, z.output<T>> => {
    if (!isMap(value)) return refuse(context, `expected a map, got ${describe(value)}`)
    const entries = Object.entries(value).map(([key, element]) => {
      const result = item.safeParse(element)
      if (!result.success) pass(result.error, context, [key])
      return [key, result.data] as const
    })
    return Object.fromEntries(entries) as Record<string, z.output<T>>
  })
}

export function listOf<T extends z.ZodType>(item: T, expected: string) {
  return oneOf(expected, { list: z.array(item) })
}

export function toProblems(error: z.ZodError): DefinitionProblem[] {
  return error.issues.map((issue) => {
    const path = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))
    const known = issue.code === 'custom' ? (issue.params?.['known'] as () => string[]) : undefined
    return { path, message: issue.message, ...(known && { known: known() }) }
  })
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (typeof value === 'string') {
    return value.length <= 60 ? JSON.stringify(showPlaceholders(value)) : 'a longer text'
  }
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : 'a map'
}

/** `describe` for what may hold a secret: nothing of it is quoted. */
export function describeKind(value: unknown): string {
  return isMap(value) || Array.isArray(value) || value === undefined || value === null
    ? describe(value)
    : 'a single value'
}

function shapeOf(value: unknown): keyof Branches {
  if (Array.isArray(value)) return 'list'
  return isMap(value) ? 'map' : 'text'
}

function adopt<T>(result: z.ZodSafeParseResult<T>, context: Context): T {
  if (result.success) return result.data
  pass(result.error, context)
  return z.NEVER
}

function pass(error: z.ZodError, context: Context, at: readonly PropertyKey[] = []): void {
  for (const issue of error.issues) {
    context.issues.push({ ...issue, path: [...at, ...issue.path], input: undefined })
  }
}
