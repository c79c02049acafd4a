import { expect, test } from 'vitest'
import { compilePattern } from '../../src/core/pattern.ts'
import { ParameterSchema, parseParameters } from '../../src/core/parameters.ts'

test.each([
  ['^(\\w+\\s?)*$', `${'a'.repeat(100_000)}!`],
  ['(a+)+$', `${'a'.repeat(100_000)}!`],
  ['(x+x+)+y', 'x'.repeat(100_000)],
])('%s takes no longer for a text that does not match', (pattern, text) => {
  const begin = performance.now()
  const schemas = { it: { type: 'string', pattern } as const }
  expect(() => parseParameters(schemas, { json: { it: text } })).toThrow('a text that matches')
  expect(performance.now() - begin).toBeLessThan(2_000)
})

test.each([
  ['^[\\w-]+\\.\\d{3}$', 'a-b.123', 'a-b.12'],
  ['b', 'abc', 'ac'],
  ['^\\p{L}+$', 'é', '1'],
  ['^\\u00e9\\/$', 'é/', 'e/'],
  ['^.$', '😀', 'ab'],
  ['^a$', 'a', 'a\n'],
  ['^(?<year>\\d{4})-(?:0[1-9]|1[0-2])$', '2024-12', '2024-13'],
])('%s matches what JavaScript matches', (source, good, bad) => {
  const pattern = compilePattern(source)
  expect(pattern?.matches(good)).toBe(new RegExp(source, 'u').test(good))
  expect(pattern?.matches(good)).toBe(true)
  expect(pattern?.matches(bad)).toBe(false)
})

test.each(['(a)\\1', '(?=a)b', '(?<!a)b', 'a{1001}', '(', '\\-', '(?i)a'])(
  '%s is refused when the definition is read',
  (pattern) => {
    expect(compilePattern(pattern)).toBeUndefined()
    const { error } = ParameterSchema.safeParse({ type: 'string', pattern })
    expect(error?.issues[0]?.path).toEqual(['pattern'])
  },
)
