import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseHookBody } from '../../../src/core/webhook/body.ts'

const form = 'application/x-www-form-urlencoded'
const parse = (text: string | Uint8Array, type?: string) =>
  parseHookBody(type, typeof text === 'string' ? new TextEncoder().encode(text) : text)

test.each<[string | undefined, string, unknown]>([
  ['application/json', '{"a":"ü"}', { a: 'ü' }],
  ['application/vnd.x+json; charset=utf-8', '[1]', [1]],
  [undefined, 'null', null],
  ['text/plain', '1', 1],
  ['application/json', '\uFEFF{}', {}],
  ['application/json', '{', undefined],
  ['application/json', '', undefined],
  ['application/json', "{'a':1}", undefined],
  [form, 'a=1&b=%C3%BC+x&a=2', { a: ['1', '2'], b: 'ü x' }],
  [`${form.toUpperCase()} ; charset=UTF-8`, 'a=1', { a: '1' }],
  [form, `payload=${encodeURIComponent('{"ref":"x","n":[1]}')}`, { ref: 'x', n: [1] }],
  [form, 'payload=%7B&', { payload: '{' }],
  [form, 'payload=1', { payload: '1' }],
  [form, 'payload=%7B%7D&x=1', { payload: '{}', x: '1' }],
  [form, 'payload=%7B%7D&payload=%7B%7D', { payload: ['{}', '{}'] }],
  [form, '{"a":1}', { a: 1 }],
  [form, '1', { '1': '' }],
  [form, '', undefined],
])('%s %j', (type, text, expected) => {
  expect(parse(text, type)).toEqual(expected)
})

test('names of the language are names like others', () => {
  expect(Object.entries(parse('__proto__=1&constructor=2', form) as object)).toEqual([
    ['__proto__', '1'],
    ['constructor', '2'],
  ])
  expect(Object.entries(parse('{"__proto__":{"x":1}}') as object)).toEqual([
    ['__proto__', { x: 1 }],
  ])
  expect({}).not.toHaveProperty('x')
})

test('what is no UTF-8 is no JSON and no form', () => {
  for (const bytes of [
    [0x22, 0xff, 0x22],
    [0x22, 0xc0, 0xa0, 0x22],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
  ]) {
    expect(parse(Uint8Array.from(bytes))).toBeUndefined()
    expect(parse(Uint8Array.from(bytes), form)).toBeUndefined()
  }
})

test('200,000 values are read, and no more: what takes little to send may take much to hold', () => {
  const list = (length: number) => `[${Array.from({ length }, () => '{}').join()}]`
  const names = Array.from({ length: 199_998 }, (_, index) => `"${index}":0`).join()
  expect(parse(list(99_999))).toHaveLength(99_999)
  expect(parse(list(100_001))).toBeUndefined()
  expect(parse(`{${names}}`)).toBeDefined()
  expect(parse(`{${names},"a":0,"b":0}`)).toBeUndefined()
  expect(parse(JSON.stringify([',{['.repeat(300_000)]))).toBeDefined()
  expect(parse(`[${'{},'.repeat(8 * 1024 ** 2)}0]`)).toBeUndefined()
})

test('64 levels are read, and no more, whatever stands in texts', () => {
  const nest = (levels: number) => '[{"a":'.repeat(levels / 2) + '1' + '}]'.repeat(levels / 2)
  expect(parse(nest(64))).toBeDefined()
  expect(parse(`[${nest(64)}]`)).toBeUndefined()
  expect(parse(`payload=${encodeURIComponent(`{"a":${nest(64)}}`)}`, form)).toEqual({
    payload: `{"a":${nest(64)}}`,
  })
  const text = `"${'[{\\"\\\\'.repeat(1000)}"`
  expect(parse(text)).toBe(JSON.parse(text))
})

test('a hostile body is refused in little time', () => {
  const begin = performance.now()
  const size = 5_000_000
  expect(parse('['.repeat(size))).toBeUndefined()
  expect(parse('{"a":'.repeat(size / 5))).toBeUndefined()
  expect(parse('a&'.repeat(size / 2), form)).toBeUndefined()
  expect(parse(`"${'\\'.repeat(size)}`)).toBeUndefined()
  expect(performance.now() - begin).toBeLessThan(3000)
})

test('any JSON of few levels is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 10 }), (text) => {
      expect(parse(text)).toEqual(JSON.parse(text))
    }),
  )
})
