import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { interpolate } from '../../src/core/interpolate.ts'
import { fillPlaceholders, placeholder, showPlaceholders } from '../../src/core/template.ts'

const variables = { SET: 'value', EMPTY: '', OTHER: 'other', DOLLAR: '$SET ${{ a }}' }

test.each([
  ['$SET', 'value'],
  ['${SET}', 'value'],
  ['a${SET}b$SET.c', 'avaluebvalue.c'],
  ['${UNSET:-default}', 'default'],
  ['${EMPTY:-default}', 'default'],
  ['${EMPTY-default}', ''],
  ['${UNSET-default}', 'default'],
  ['${SET:-default}', 'value'],
  ['${SET:+there}', 'there'],
  ['${EMPTY:+there}', ''],
  ['${EMPTY+there}', 'there'],
  ['${UNSET+there}', ''],
  ['${SET:?must}', 'value'],
  ['${EMPTY?must}', ''],
  ['${UNSET:-${OTHER}}', 'other'],
  ['${UNSET:-${ALSO:-a}b}c', 'abc'],
  ['${SET:-${UNSET:?never asked}}', 'value'],
  ['${UNSET:+${ALSO:?never asked}}x', 'x'],
  ['${UNSET:-}', ''],
  ['$$SET $$$SET $${SET}', '$SET $value ${SET}'],
  ['100%', '100%'],
  ['$DOLLAR', '$SET ${{ a }}'],
])('%s becomes %j', (text, expected) => {
  expect(interpolate(text, variables)).toMatchObject({ text: expected, unset: [] })
})

test.each([
  ['cost: 5$', /\$\$/],
  ['$5', /\$\$/],
  ['${SET', /closed/],
  ['${UNSET:-a', /closed/],
  ['${}', /name of a variable/],
  ['${1}', /name of a variable/],
  ['${SET!}', /closed/],
  ['${UNSET:?set it in the unit file}', /UNSET must be set .*: set it in the unit file/],
  ['${EMPTY:?}', /EMPTY must be set/],
  ['${{ }}', /name of a parameter/],
  ['${{ a-b }}', /name of a parameter/],
  ['${{ a', /name of a parameter/],
])('%s is refused', (text, reason) => {
  expect(interpolate(text, variables).problem).toMatch(reason)
})

test('a variable that is not set becomes empty and is told of', () => {
  expect(interpolate('a${UNSET}b$ALSO', variables)).toMatchObject({
    text: 'ab',
    unset: ['UNSET', 'ALSO'],
  })
})

test('the values that were put in are told of, so that they can be kept out of messages', () => {
  expect(interpolate('$SET ${UNSET:-$OTHER} ${EMPTY+x}', variables).used).toEqual({
    SET: 'value',
    OTHER: 'other',
  })
})

test('${{ name }} waits for a call, whatever its spaces', () => {
  const { text } = interpolate('a ${{ x }}${{x}} $${{ x }} ${UNSET:-${{ y }}}', variables)
  expect(showPlaceholders(text)).toBe('a ${{ x }}${{ x }} ${{ x }} ${{ y }}')
  expect(fillPlaceholders(text, (name) => name.toUpperCase())).toBe('a XX ${{ x }} Y')
})

test('a value is never looked at again: not for variables, not for placeholders', () => {
  const hostile = fc.oneof(
    fc.string(),
    fc.constantFrom('$A', '${A}', '$$', '${{ p }}', '$', '${', '}}'),
  )
  fc.assert(
    fc.property(hostile, hostile, hostile, (a, before, after) => {
      fc.pre(!/[$\0]/.test(before + after) && !/\0/.test(a) && !/^\w/.test(after))
      const read = interpolate(`${before}$A${after}\${A}\${{ p }}`, { A: a })
      expect(read.text).toBe(`${before}${a}${after}${a}${placeholder('p')}`)
    }),
  )
})

test('text without a dollar is left alone, and no text makes it throw', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('$', '{', '}', ':', '-', '?', '+', 'A', ' ') }),
      (text) => {
        const read = interpolate(text, { A: 'a' })
        expect(text.includes('$') || read.text === text).toBe(true)
      },
    ),
    { numRuns: 2_000 },
  )
})
