import { expect, test } from 'vitest'
import { OneshotError } from '../../../src/core/error.ts'
import type { ParameterSchema } from '../../../src/core/parameters.ts'
import type { Mapped } from '../../../src/core/trigger.ts'
import { toHookInput } from '../../../src/core/webhook/input.ts'
import { parseJsonPath } from '../../../src/core/webhook/json-path.ts'
import { toHookHeaders } from '../../../src/core/webhook/request.ts'

const at = (text: string): Mapped => ({ path: parseJsonPath(text)! })
const headers = toHookHeaders([
  'X-Number',
  '42',
  'X-Flag',
  'true',
  'X-Map',
  '{"a":1}',
  'X-Two',
  'a',
  'X-Two',
  'b',
  'X-Name',
  'Zo\u00c3\u00ab',
  'X-Latin',
  'Zo\u00eb',
])
const json = {
  ref: 'main',
  number: 7,
  text: '7',
  ok: true,
  nothing: null,
  map: { a: [1] },
  list: ['a', 'b'],
  commits: [
    { id: 'a', n: 1 },
    { id: 'b', n: 2 },
  ],
  one: [{ id: 'a' }],
  nul: 'a\0b',
  long: 'x'.repeat(70_000),
  tooLong: 'x'.repeat(110_000),
  many: Array.from({ length: 10_001 }, () => 1),
}

function map(parameters: Record<string, Mapped>, schemas: Record<string, ParameterSchema>) {
  return toHookInput({ parameters, environment: {} }, schemas, { headers, json }).parameters
}

const environment = (mappings: Record<string, Mapped>) =>
  toHookInput({ parameters: {}, environment: mappings }, {}, { headers, json }).environment

test.each<[Mapped, ParameterSchema, unknown]>([
  [at('$.ref'), { type: 'string' }, 'main'],
  [at('$.number'), { type: 'integer' }, 7],
  [at('$.number'), { type: 'string' }, '7'],
  [at('$.text'), { type: 'integer' }, 7],
  [at('$.text'), { type: 'string' }, '7'],
  [at('$.ok'), { type: 'boolean' }, true],
  [at('$.ok'), { type: 'string' }, 'true'],
  [at('$.map'), { type: 'object' }, { a: [1] }],
  [at('$.list'), { type: 'array', items: { type: 'string' } }, ['a', 'b']],
  [at('$.ref'), { type: 'array', items: { type: 'string' } }, ['main']],
  [at('$.commits[*].id'), { type: 'array', items: { type: 'string' } }, ['a', 'b']],
  [at('$.commits[*].n'), { type: 'array', items: { type: 'integer' } }, [1, 2]],
  [at('$.commits[*].n'), { type: 'array', items: { type: 'string' } }, ['1', '2']],
  [at('$.commits[*].n'), { type: 'array' }, [1, 2]],
  [at('$.one[*].id'), { type: 'array' }, ['a']],
  [at('$.one[*]'), { type: 'array' }, [{ id: 'a' }]],
  [{ header: 'x-number' }, { type: 'number' }, 42],
  [{ header: 'x-number' }, { type: 'string' }, '42'],
  [{ header: 'x-flag' }, { type: 'boolean' }, true],
  [{ header: 'x-map' }, { type: 'object' }, { a: 1 }],
  [{ header: 'x-two' }, { type: 'array' }, ['a', 'b']],
  [{ header: 'x-name' }, { type: 'string' }, 'Zoë'],
  [{ header: 'x-latin' }, { type: 'string' }, 'Zoë'],
  [{ value: 'fixed' }, { type: 'string' }, 'fixed'],
  [{ value: [1] }, { type: 'array' }, [1]],
  [at('$.none'), { type: 'string', default: 'x' }, 'x'],
  [at('$.nothing'), { type: 'string', default: 'x' }, 'x'],
  [at('$.none[*]'), { type: 'array', default: [] }, []],
])('%j as %j', (mapped, schema, expected) => {
  expect(map({ it: mapped }, { it: schema })).toEqual({ it: expected })
})

test('what is not there and has no default is left out', () => {
  const parameters = map(
    { it: at('$.none'), other: { header: 'x-none' } },
    {
      it: { type: 'string' },
      other: { type: 'integer' },
    },
  )
  expect(parameters).toEqual({})
})

test.each<[Mapped, ParameterSchema, string]>([
  [at('$.ref'), { type: 'integer' }, 'expected a whole number'],
  [at('$.map'), { type: 'string' }, 'expected a text'],
  [at('$.one[*].id'), { type: 'string' }, 'expected a text'],
  [{ header: 'x-two' }, { type: 'string' }, 'expected a text'],
  [at('$.none'), { type: 'string', required: true }, 'is required'],
  [at('$.nul'), { type: 'string' }, 'NUL'],
  [at('$.tooLong'), { type: 'string' }, 'longer than 100 KiB'],
  [at('$.tooLong'), { type: 'object' }, 'longer than 100 KiB'],
  [at('$.many[*]'), { type: 'array' }, 'more than 10,000 values'],
])('%j as %j is refused', (mapped, schema, detail) => {
  const call = () => map({ it: mapped }, { it: schema })
  expect(call).toThrow(OneshotError)
  expect(call).toThrow(detail)
})

test('a parameter that the function does not have is refused', () => {
  expect(() => map({ constructor: at('$.ref') }, {})).toThrow('there is no such parameter')
})

test('variables are texts as they are, numbers as text, and the rest as JSON', () => {
  const mappings = {
    REF: at('$.ref'),
    NUMBER: at('$.number'),
    OK: at('$.ok'),
    MAP: at('$.map'),
    IDS: at('$.commits[*].id'),
    ONE: at('$.one[*].id'),
    NAME: { header: 'x-name' },
    FIXED: { value: 'x' },
    NOTHING: at('$.nothing'),
    NONE: at('$.none'),
    NONE_TOO: { header: 'x-none' },
  }
  expect(environment(mappings)).toEqual({
    REF: 'main',
    NUMBER: '7',
    OK: 'true',
    MAP: '{"a":[1]}',
    IDS: '["a","b"]',
    ONE: '["a"]',
    NAME: 'Zoë',
    FIXED: 'x',
  })
})

test('variables that no command could be given, or that are too long, are refused', () => {
  expect(() => environment({ A: at('$.nul') })).toThrow('#/environment/A contains a NUL')
  expect(() => environment({ A: at('$.long') })).toThrow('#/environment is longer than 64 KiB')
  expect(() => environment({ A: at('$.many[*]') })).toThrow('more than 10,000 values')
})
