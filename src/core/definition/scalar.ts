import * as z from 'zod'
import { describeKind, oneOf, recordOf, refuse, scalar } from './shape.ts'
import { splitWords } from '../shell-words.ts'
import { MAX_DURATION_MS, parseBytes, parseDuration } from '../units.ts'

/** Numbers are taken for text where Compose's text often looks like one, such as `user: 1000`. */
export const text = scalar('a text', (value) => {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value !== '' ? value : undefined
})

export const flag = scalar('true or false', (value) => {
  if (value === 'true' || value === 'false') return value === 'true'
  return typeof value === 'boolean' ? value : undefined
})

export function choice<const T extends string>(...choices: readonly T[]) {
  return scalar(`one of ${choices.join(', ')}`, (value) => choices.find((each) => each === value))
}

const decimal = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i
const hexadecimal = /^0x[\da-f]+$/i

/** Numbers come as they are written, and out of variables. */
function toNumber(value: unknown): unknown {
  const isNumber = typeof value === 'string' && (decimal.test(value) || hexadecimal.test(value))
  return isNumber ? Number(value) : value
}

export function integer(minimum: number, expected = `a whole number of at least ${minimum}`) {
  return scalar(expected, (value) => {
    const number = toNumber(value)
    return Number.isSafeInteger(number) && (number as number) >= minimum
      ? (number as number)
      : undefined
  })
}

export function number(minimum: number, maximum: number) {
  return scalar(`a number from ${minimum} to ${maximum}`, (value) => {
    const number = toNumber(value)
    return typeof number === 'number' && number >= minimum && number <= maximum ? number : undefined
  })
}

export const cpus = scalar('a number of CPUs above 0, such as 0.5', (value) => {
  const number = toNumber(value)
  return typeof number === 'number' && number > 0 && Number.isFinite(number) ? number : undefined
})

export function bytes(minimum = 0, hint = '') {
  return scalar(`a size such as 64k, 10m or 1g${hint}`, (value) => {
    const number = (typeof value === 'string' ? parseBytes(value) : undefined) ?? toNumber(value)
    return Number.isSafeInteger(number) && (number as number) >= minimum
      ? (number as number)
      : undefined
  })
}

const anyDuration = scalar('a duration such as 500ms, 30s or 1m30s', (value) => {
  if (value === 0) return 0
  return typeof value === 'string' ? parseDuration(value) : undefined
})
export const duration = anyDuration.transform((value, context) =>
  value <= MAX_DURATION_MS ? value : refuse(context, 'expected at most 24d'),
)

/** A number without a leading 0 could be meant as decimal, and would then mean something else. */
export const mode = scalar('permission bits in octal, such as 0444', (value) =>
  typeof value === 'string' && /^0o?[0-7]{3,4}$/.test(value)
    ? Number.parseInt(value.replace('o', ''), 8)
    : undefined,
)

export const id = integer(0, 'a numeric id')

/** One text stands for a list of one. */
export const texts = oneOf('a text or a list of texts', {
  text: text.transform((value) => [value]),
  list: z.array(text),
})

/** Compose's commands: a text is split like a shell's words, and no shell runs. */
export const words = oneOf('a text or a list of texts', {
  text: z.string({ error: 'expected a text or a list of texts' }).transform((value, context) => {
    return splitWords(value) ?? refuse(context, 'expected every quote to be closed')
  }),
  list: z.array(
    scalar('a text', (value) => {
      if (typeof value === 'string') return value
      return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
    }),
  ),
})

const valueOfVariable = scalar('a text, a number, true, false or nothing', (value) => {
  if (value === null) return { isSet: false, value: '' }
  if (typeof value === 'string') return { isSet: true, value }
  return typeof value === 'number' || typeof value === 'boolean'
    ? { isSet: true, value: String(value) }
    : undefined
})

const branches = {
  map: recordOf(valueOfVariable).transform((record): Record<string, string | null> =>
    Object.fromEntries(
      Object.entries(record).map(([key, { isSet, value }]) => [key, isSet ? value : null]),
    ),
  ),
  list: z.array(text).transform((items): Record<string, string | null> => {
    const entries = items.map((item) => {
      const at = item.indexOf('=')
      return at < 0 ? [item, null] : [item.slice(0, at), item.slice(at + 1)]
    })
    return Object.fromEntries(entries) as Record<string, string | null>
  }),
}
/** A map, or a list of `KEY=value`. Null: the key stands alone. */
export const variables = oneOf('a map or a list of KEY=value', branches, describeKind)

/** As `variables`, where a key alone means an empty value. */
export const pairs = variables.transform((record): Record<string, string> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, value ?? ''])),
)
