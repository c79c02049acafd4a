import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { matchesWildcard } from '../../src/core/wildcard.ts'

test.each([
  ['a', 'a', true],
  ['a', 'ab', false],
  ['*', '', true],
  ['*', 'a/b:c', true],
  ['a*', 'a', true],
  ['a*a', 'a', false],
  ['a*a', 'aba', true],
  ['a*b*c', 'abc', true],
  ['a*b*c', 'acb', false],
  ['*ab*ba*', 'aba', false],
  ['*ab*ba*', 'abba', true],
  ['a.c', 'abc', false],
  ['[a-z]', 'b', false],
  ['a**b', 'axxb', true],
])('%s matches %s: %s', (pattern, text, matches) => {
  expect(matchesWildcard(pattern, text)).toBe(matches)
})

test('it matches what the same regular expression does', () => {
  const few = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 })
  const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 })
  fc.assert(
    fc.property(few, text, (pattern, subject) => {
      const expected = new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(subject)
      expect(matchesWildcard(pattern, subject)).toBe(expected)
    }),
  )
})

test('a pattern that would keep a regular expression busy for ever is done at once', () => {
  expect(matchesWildcard('*a'.repeat(1000) + 'b', 'a'.repeat(200_000))).toBe(false)
}, 1000)
