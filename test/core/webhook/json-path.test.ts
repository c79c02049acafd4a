import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { findValues, parseJsonPath } from '../../../src/core/webhook/json-path.ts'

const json = {
  ref: 'refs/heads/main',
  commits: [
    { id: 'a', author: { name: 'Ada' }, files: ['x', 'y'] },
    { id: 'b', author: { name: 'Bob' }, files: [] },
    { id: 'c', files: null },
  ],
  'a b': { "it's": 1, 'say "hi"': 2, 'back\\slash': 3, '☺': 4, '\n': 5, '😀': 6 },
  nothing: null,
  _x: 0,
}

test.each<[string, unknown[]]>([
  ['$', [json]],
  ['$.ref', ['refs/heads/main']],
  ["$['ref']", ['refs/heads/main']],
  ['$["ref"]', ['refs/heads/main']],
  ['$.commits[0].id', ['a']],
  ['$.commits[-1].id', ['c']],
  ['$.commits[3].id', []],
  ['$.commits[-4].id', []],
  ['$.commits[*].id', ['a', 'b', 'c']],
  ['$.commits[*].author.name', ['Ada', 'Bob']],
  ['$.commits.*.files[*]', ['x', 'y']],
  ["$['a b']['it\\'s']", [1]],
  ['$["a b"]["it\'s"]', [1]],
  ['$["a b"]["say \\"hi\\""]', [2]],
  ["$['a b']['back\\\\slash']", [3]],
  ["$['a b']['\\u263A']", [4]],
  ["$['a b']['☺']", [4]],
  ["$['a b'].☺", [4]],
  ["$['a b']['\\n']", [5]],
  ["$['a b']['\\uD83D\\uDE00']", [6]],
  ["$['a b'].*", [1, 2, 3, 4, 5, 6]],
  ['$.nothing', [null]],
  ['$.nothing.more', []],
  ['$._x', [0]],
  ['$ .commits [ 0 ] .id', ['a']],
  ['$.ref[0]', []],
  ['$.ref.length', []],
  ['$.commits.length', []],
  ['$.commits["0"]', []],
  ['$[0]', []],
])('%s', (text, expected) => {
  expect(findValues(parseJsonPath(text)!, json)).toEqual(expected)
})

test.each([
  '',
  'ref',
  '.ref',
  ' $',
  '$ ',
  '$.',
  '$..id',
  '$.1a',
  '$.a-b',
  '$. a',
  '$[a]',
  '$[]',
  '$[01]',
  '$[-0]',
  '$[+1]',
  '$[1.5]',
  '$[9007199254740992]',
  '$[0:1]',
  '$[0,1]',
  '$[?@.a]',
  "$['a]",
  '$[\'a"]',
  "$['\\x']",
  "$['\\\"']",
  '$["\\\'"]',
  "$['\\uD83D']",
  "$['\n']",
  '$\uD83D',
  "$['\uD83D']",
  '$.a.',
  '$.a]',
  `$${'.a'.repeat(65)}`,
  `$.${'a'.repeat(1000)}`,
])('%j is no path that is taken', (text) => {
  expect(parseJsonPath(text)).toBeUndefined()
})

test('any name is found as RFC 9535 writes it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 50 }), fc.jsonValue(), (name, value) => {
      const path = parseJsonPath(`$[${JSON.stringify(name)}]`)
      expect(path).toEqual([{ name }])
      const document = JSON.parse(`{${JSON.stringify(name)}:${JSON.stringify(value)}}`) as unknown
      expect(findValues(path!, document)).toEqual([JSON.parse(JSON.stringify(value))])
    }),
  )
})

test('what the language puts on every object is not found', () => {
  for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'length']) {
    expect(findValues([{ name }], {})).toEqual([])
    expect(findValues([{ name }], [])).toEqual([])
    expect(findValues([{ name }], 'text')).toEqual([])
  }
  expect(findValues([{ name: '__proto__' }], JSON.parse('{"__proto__":1}'))).toEqual([1])
})

test('a path that leads to more values than may be looked at leads nowhere', () => {
  const wide = { list: Array.from({ length: 100 }, () => Array.from({ length: 100 }, () => 1)) }
  const path = parseJsonPath('$.list[*][*]')!
  expect(findValues(path, wide, 10_102)).toHaveLength(10_000)
  expect(findValues(path, wide, 10_101)).toBeUndefined()
  const begin = performance.now()
  const long = { list: Array.from({ length: 1_000_000 }, () => 0) }
  expect(findValues(parseJsonPath('$.list[*]')!, long)).toBeUndefined()
  expect(findValues(parseJsonPath('$[-1]')!, long.list)).toEqual([0])
  expect(performance.now() - begin).toBeLessThan(1000)
})
