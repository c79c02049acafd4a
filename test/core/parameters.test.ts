import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ContainerSpec } from '../../src/core/function.ts'
import { OneshotError } from '../../src/core/error.ts'
import {
  MAX_VARIABLE_BYTES,
  ParameterSchema,
  parseParameters,
  resolve,
  toEnvironment,
} from '../../src/core/parameters.ts'
import { toJsonSchema } from '../../src/core/parameter-schema.ts'
import { placeholder } from '../../src/core/template.ts'
import { functionSpec } from '../function-spec.ts'

type Schemas = Readonly<Record<string, ParameterSchema>>

const schemas: Schemas = {
  url: { type: 'string', format: 'uri', required: true },
  depth: { type: 'integer', minimum: 0, maximum: 9, default: 2 },
  ratio: { type: 'number', exclusiveMinimum: 0 },
  dry: { type: 'boolean' },
  tags: { type: 'array', items: { type: 'string', maxLength: 3 }, uniqueItems: true },
  page: {
    type: 'object',
    properties: {
      size: { type: 'integer', required: true },
      from: { type: 'integer', default: 0 },
    },
    additionalProperties: false,
  },
}
const url = 'http://a.example/'

function violationsOf(
  given: Parameters<typeof parseParameters>[1],
  declared = schemas,
): Record<string, unknown> {
  try {
    return { values: parseParameters(declared, given) }
  } catch (error) {
    if (!(error instanceof OneshotError && error.code === 'parameters_invalid')) throw error
    return Object.fromEntries(error.violations.map(({ pointer, detail }) => [pointer, detail]))
  }
}

test('a query is read by the types of the parameters, and defaults are filled in', () => {
  const query = new URLSearchParams(
    `url=${url}&ratio=1.5e1&dry=1&tags=a&tags=b&page=${encodeURIComponent('{"size":5}')}`,
  )
  expect(parseParameters(schemas, { query })).toEqual({
    url,
    depth: 2,
    ratio: 15,
    dry: true,
    tags: ['a', 'b'],
    page: { size: 5, from: 0 },
  })
})

test('JSON is taken by its own types', () => {
  const json = { url, depth: 3, ratio: 0.5, dry: false, tags: [], page: { size: 1, from: 2 } }
  expect(parseParameters(schemas, { json })).toEqual(json)
})

test('what is optional and not given is absent', () => {
  expect(parseParameters(schemas, { json: { url } })).toEqual({ url, depth: 2 })
})

test('every violation is told at once, each with its pointer', () => {
  const json = {
    depth: 10,
    ratio: '1',
    dry: 'true',
    tags: ['long', 'a', 'a'],
    page: { x: 1 },
    nope: 1,
  }
  expect(violationsOf({ json })).toEqual({
    '#/url': 'is required',
    '#/depth': 'expected at most 9',
    '#/ratio': 'expected a number',
    '#/dry': 'expected true or false',
    '#/tags/0': 'expected at most 3 characters',
    '#/tags': 'expected items that all differ',
    '#/page/x': 'there is no such property',
    '#/page/size': 'is required',
    '#/nope': expect.stringContaining('url, depth, ratio, dry, tags, page'),
  })
})

test.each([
  ['depth', ['', ' 1', '1 ', '0x1', '1.5', '1e999', '01', '+1', '１', 'NaN', '9007199254740993']],
  ['ratio', ['', 'Infinity', '.5', '5.', '1,5', '1_0', '0x1', '-0.1', '0']],
  ['dry', ['', 'yes', 'TRUE', 'on', '2']],
  ['page', ['', '{', '[]', '"x"', 'null', '5']],
  ['url', ['', 'a b', '/relative', 'http://']],
])('a query for %s is read strictly', (name, texts) => {
  for (const text of texts) {
    const query = new URLSearchParams({ url, [name]: text })
    expect(violationsOf({ query })).toHaveProperty([`#/${name}`])
  }
})

test.each([
  'http://x/\r\nEvil: 1',
  ' http://x/ ',
  'http://x\n.evil.com/',
  'http://x/"><',
  'http://x/`',
  'http://x/ü',
])('%j is no uri', (text) => {
  expect(violationsOf({ json: { url: text } })).toHaveProperty(['#/url'])
})

test('nested defaults are filled in, whether or not the call gives the object', () => {
  const inner: ParameterSchema = {
    type: 'object',
    default: {},
    properties: { a: { type: 'integer', default: 1 } },
  }
  const declared: Schemas = { o: { ...inner, properties: { ...inner.properties, inner } } }
  const filled = { o: { a: 1, inner: { a: 1 } } }
  expect(parseParameters(declared, {})).toEqual(filled)
  expect(parseParameters(declared, { json: { o: {} } })).toEqual(filled)
})

test('a parameter given twice is refused: in the query, or in the query and the body', () => {
  const query = new URLSearchParams(`url=${url}&url=${url}&depth=1`)
  expect(violationsOf({ query, json: { depth: 1 } })).toEqual({
    '#/url': 'expected a text',
    '#/depth': expect.stringContaining('twice'),
  })
})

test.each([[null], [[]], ['text'], [5]])('a body of %j is no parameters', (json) => {
  expect(violationsOf({ json })).toHaveProperty(['#'])
})

test('names that JavaScript objects have by birth are names like any other', () => {
  const json: unknown = JSON.parse(
    `{"url":"${url}","__proto__":{"x":1},"constructor":1,"toString":1}`,
  )
  expect(Object.keys(violationsOf({ json }))).toEqual([
    '#/__proto__',
    '#/constructor',
    '#/toString',
  ])
  const inner: unknown = JSON.parse('{"object":{"__proto__":{"polluted":true}}}')
  const values = parseParameters({ object: { type: 'object' } }, { json: inner })
  expect(toEnvironment(values)).toEqual({ object: '{"__proto__":{"polluted":true}}' })
  expect({}).not.toHaveProperty('polluted')
})

test('of many violations the first are told, with short keys, and the known names once', () => {
  const entries = Array.from({ length: 100_000 }, (_, index) => [`k${index}${'x'.repeat(200)}`, 1])
  const begin = performance.now()
  const violations = violationsOf({ json: Object.fromEntries(entries) })
  expect(performance.now() - begin).toBeLessThan(15_000)
  const text = JSON.stringify(violations)
  expect(text.length).toBeLessThan(5_000)
  expect(text.split('url, depth')).toHaveLength(2)
  expect(Object.keys(violations)).toHaveLength(21)
  // Each unknown key, and the one that is required.
  expect(violations['#']).toBe('and 99981 more mistakes')
})

test('of many choices the first are told', () => {
  const choices = Array.from({ length: 1_000 }, (_, index) => `choice ${index}`)
  const declared: Schemas = { it: { type: 'string', enum: choices } }
  expect(String(violationsOf({ json: { it: 'x' } }, declared)['#/it']).length).toBeLessThan(400)
})

test('names are escaped in pointers', () => {
  expect(Object.keys(violationsOf({ json: { url, 'a/b~c d': 1 } }))).toEqual(['#/a~1b~0c%20d'])
})

test('what no environment can hold is refused: NUL, too long, too much, too deep', () => {
  const text: Schemas = { text: { type: 'string', pattern: '^(a+)+$' } }
  expect(violationsOf({ json: { text: 'a\0' } }, text)['#/text']).toMatch(/NUL/)
  const longest = 'a'.repeat(MAX_VARIABLE_BYTES - 'text='.length)
  expect(violationsOf({ json: { text: longest } }, { text: { type: 'string' } })).toEqual({
    values: { text: longest },
  })
  expect(violationsOf({ json: { text: `${longest}a` } }, text)['#/text']).toMatch(/100 KiB/)
  const many = Array.from({ length: 11 }, (_, index) => `p${index}`)
  const all = Object.fromEntries(
    many.map((name): [string, ParameterSchema] => [name, { type: 'string' }]),
  )
  const json = Object.fromEntries(many.map((name) => [name, 'a'.repeat(100_000)]))
  expect(violationsOf({ json }, all)).toEqual({ '#': expect.stringContaining('1 MiB') })
  const deep: unknown = JSON.parse(`${'['.repeat(20_000)}${']'.repeat(20_000)}`)
  expect(violationsOf({ json: { list: deep } }, { list: { type: 'array' } })['#/list']).toMatch(
    /deep/,
  )
})

test.each([
  ['uri', ['http://a/b?c', 'urn:a:b'], ['a', '//a']],
  ['email', ['a@b.example'], ['a', 'a@']],
  ['date', ['2024-02-29'], ['2023-02-29', '24-01-01']],
  [
    'date-time',
    ['2024-02-29T10:00:00Z', '2024-02-29T10:00:00.5+02:00'],
    ['2024-02-29', '2024-02-29T10:00:00'],
  ],
  ['time', ['10:00:00Z'], ['10']],
  ['duration', ['P1DT2H'], ['1d']],
  ['uuid', ['123e4567-e89b-12d3-a456-426614174000'], ['123']],
  ['ipv4', ['127.0.0.1'], ['127.1', '256.0.0.1', '::1']],
  ['ipv6', ['::1', 'fe80::1'], ['127.0.0.1', ':']],
  ['hostname', ['a.example', 'localhost'], ['a b', '-a', 'a..b']],
])('the format %s takes and refuses', (format, good, bad) => {
  const declared: Schemas = { it: { type: 'string', format } }
  for (const it of good)
    expect(violationsOf({ json: { it } }, declared)).toEqual({ values: { it } })
  for (const it of bad) expect(violationsOf({ json: { it } }, declared)).toHaveProperty(['#/it'])
})

test.each<[ParameterSchema, unknown[], unknown[]]>([
  [{ type: 'string', enum: ['a', 'b'] }, ['a'], ['c', 1]],
  [{ type: 'integer', enum: [1, 2] }, [2], [3, '1']],
  [{ type: 'integer' }, [2 ** 53 - 1, -1], [2 ** 53, 1e300, 1.5]],
  [{ type: 'boolean', const: true }, [true], [false]],
  [{ type: 'number', multipleOf: 0.1 }, [0.3, 1], [0.35]],
  [{ type: 'number', exclusiveMaximum: 3, minimum: 1 }, [1, 2.9], [3, 0.9]],
  [{ type: 'string', minLength: 2, maxLength: 2 }, ['😀😀', 'ab'], ['😀', 'abc']],
  [{ type: 'string', pattern: String.raw`^\p{L}+$` }, ['é'], ['1']],
  [
    { type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 2 },
    [[1], [1, 2]],
    [[], [1, 2, 3], ['1']],
  ],
  [
    { type: 'array', uniqueItems: true },
    [[{ a: 1 }, { a: 2 }]],
    [
      [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    ],
  ],
  [{ type: 'object', required: ['a'] }, [{ a: 1, b: 1 }], [{}, [], null]],
  [{ type: 'object', additionalProperties: { type: 'integer' } }, [{ a: 1 }], [{ a: '1' }]],
  [{ type: 'object', minProperties: 1, maxProperties: 1 }, [{ a: 1 }], [{}, { a: 1, b: 2 }]],
])('%j takes and refuses what JSON Schema says', (schema, good, bad) => {
  for (const it of good)
    expect(violationsOf({ json: { it } }, { it: schema })).toEqual({ values: { it } })
  for (const it of bad)
    expect(violationsOf({ json: { it } }, { it: schema })).not.toHaveProperty('values')
})

test.each<[object, string]>([
  [{}, 'type'],
  [{ type: 'text' }, 'type'],
  [{ type: ['string', 'null'] }, 'type'],
  [{ type: 'string', minimum: 1 }, 'minimum'],
  [{ type: 'string', maxlength: 1 }, 'maxlength'],
  [{ type: 'string', anyOf: [] }, 'anyOf'],
  [{ type: 'string', pattern: '(' }, 'pattern'],
  [{ type: 'string', pattern: 'a'.repeat(1001) }, 'pattern'],
  [{ type: 'string', format: 'url' }, 'format'],
  [{ type: 'string', default: 1 }, 'default'],
  [{ type: 'string', default: 'abc', maxLength: 2 }, 'default'],
  [{ type: 'string', default: 'a', required: true }, 'default'],
  [{ type: 'string', required: ['a'] }, 'required'],
  [{ type: 'string', enum: ['a', 1] }, 'enum.1'],
  [{ type: 'array', items: { type: 'x' } }, 'items.type'],
  [{ type: 'object', properties: { a: { type: 'string', default: 1 } } }, 'properties.a.default'],
  [{ type: 'object', additionalProperties: { type: 'x' } }, 'additionalProperties.type'],
  [{ type: 'number', multipleOf: 0 }, 'multipleOf'],
  [{ type: 'string', minLength: -1 }, 'minLength'],
  [{ type: 'string', const: 5 }, 'const'],
  [{ type: 'array', const: 5 }, 'const'],
  [{ type: 'object', enum: [] }, 'enum'],
  [{ type: 'string', examples: 'one' }, 'examples'],
])('schema %# is refused at its mistake', (schema, path) => {
  const { error } = ParameterSchema.safeParse(schema)
  expect(error?.issues.map((issue) => issue.path.join('.'))).toEqual([path])
})

test('the parameters of a function are one plain JSON Schema', () => {
  expect(toJsonSchema(schemas)).toMatchObject({
    type: 'object',
    required: ['url'],
    additionalProperties: false,
    properties: {
      url: { type: 'string', format: 'uri' },
      page: { required: ['size'], properties: { size: { type: 'integer' } } },
    },
  })
  expect(JSON.stringify(toJsonSchema(schemas))).not.toContain('"required":true')
})

const spec = (container: Partial<ContainerSpec>) => functionSpec({ container })

test('parameters stand where ${{ name }} stood, and in the environment', () => {
  const resolved = resolve(
    spec({
      command: ['say', `to ${placeholder('who')}: ${placeholder('count')}`],
      entrypoint: [placeholder('who')],
      environment: { FIXED: 'x', LIST: `[${placeholder('list')}]` },
    }),
    { who: 'me', count: 3, list: [1, 'a'], dry: true },
  )
  expect(resolved).toEqual({
    command: ['say', 'to me: 3'],
    entrypoint: ['me'],
    environment: {
      FIXED: 'x',
      LIST: '[[1,"a"]]',
      who: 'me',
      count: '3',
      list: '[1,"a"]',
      dry: 'true',
    },
  })
})

test('a placeholder without a value is refused before anything runs', () => {
  expect(() => resolve(spec({ command: [placeholder('who')] }), {})).toThrow(/who has no value/)
})

const KIB = 1024
const twice = placeholder('a') + placeholder('a')

test.each<[string, Partial<ContainerSpec>, object]>([
  ['an argument', { command: ['echo', twice] }, { a: 'x'.repeat(64 * KIB) }],
  ["an entrypoint's argument", { entrypoint: [twice] }, { a: 'x'.repeat(64 * KIB) }],
  ['a variable', { environment: { V: twice } }, { a: 'é'.repeat(32 * KIB) }],
  [
    'all of it together',
    { command: Array.from({ length: 18 }, () => placeholder('a')) },
    { a: 'x'.repeat(100 * KIB - 2) },
  ],
])('%s that is too long to start a program with is refused', (_, container, values) => {
  expect(() => resolve(spec(container), { ...values })).toThrow(
    expect.objectContaining({ code: 'parameters_invalid', violations: [expect.anything()] }),
  )
})

test('what a program can just be started with is taken', () => {
  const container = {
    command: [twice + 'x'],
    environment: { V: twice },
  }
  const { command, environment } = resolve(spec(container), { a: 'x'.repeat(64 * KIB - 2) })
  expect(command?.[0]).toHaveLength(128 * KIB - 3)
  expect(environment['V']).toHaveLength(128 * KIB - 4)
})

test('no value changes the number of words, and none is looked at again', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '$(id)',
      '`id`',
      '; id',
      '${{ b }}',
      placeholder('b'),
      '$&',
      "$'",
      '$1',
      '" "',
      '\n',
    ),
  )
  fc.assert(
    fc.property(hostile, hostile, (a, b) => {
      const { command, environment } = resolve(
        spec({
          command: ['x', `<${placeholder('a')}|${placeholder('b')}>`],
          environment: { V: placeholder('a') },
        }),
        { a, b },
      )
      expect(command).toEqual(['x', `<${a}|${b}>`])
      expect(environment).toEqual({ V: a, a, b })
    }),
    { numRuns: 1_000 },
  )
})

test('whatever JSON is given, it is taken or refused by parameters_invalid', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string(), (json, query) => {
      expect(violationsOf({ json, query: new URLSearchParams(query) })).toBeTypeOf('object')
      expect(violationsOf({ json: { page: json, tags: json } })).toBeTypeOf('object')
    }),
  )
})
