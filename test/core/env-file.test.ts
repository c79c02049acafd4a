import { expect, test } from 'vitest'
import { parseEnvFile } from '../../src/core/env-file.ts'

const parse = (text: string, format?: 'raw') => parseEnvFile(text, { OUTER: 'outer' }, format)

test('an env file is read as Compose reads it', () => {
  const text = `\uFEFF# a comment
PLAIN=a value # with a comment
HASH=a#b
export EXPORTED = spaced
COLON: yes
EMPTY=
SINGLE='$OUTER \\n # kept'
DOUBLE="a\\tb \\"q\\" \\$OUTER $OUTER \\\\n" # said
LINES="one
two"
INNER=\${PLAIN}-\${UNSET:-default}
OUTER
UNSET
LATER='x'
`
  expect(parse(text.replaceAll('\n', '\r\n').replace('one\r\n', 'one\n'))).toEqual({
    variables: {
      PLAIN: 'a value',
      HASH: 'a#b',
      EXPORTED: 'spaced',
      COLON: 'yes',
      EMPTY: '',
      SINGLE: '$OUTER \\n # kept',
      DOUBLE: 'a\tb "q" $OUTER outer \\n',
      LINES: 'one\ntwo',
      INNER: 'a value-default',
      OUTER: 'outer',
      LATER: 'x',
    },
  })
})

test('the format raw takes everything after = as it is', () => {
  expect(parse(`A='x' # "$OUTER"\nB= y `, 'raw')).toEqual({
    variables: { A: `'x' # "$OUTER"`, B: ' y ' },
  })
})

test('a placeholder in an env file is a text like any other', () => {
  expect(parse('A=${{ name }}')).toEqual({ variables: { A: '${{ name }}' } })
})

test('a name that nobody has set is not found on an object', () => {
  expect(parse('constructor\nA=[${toString}]')).toEqual({ variables: { A: '[]' } })
})

test.each([
  ['A=1\n=2', 2],
  ['A=1\n\nnot an assignment', 3],
  ['A="open\nB=2', 1],
  ["A=1\nB='open", 2],
  ['A=5$', 1],
  ['A=\0', 1],
])('%j is refused, with its line', (text, line) => {
  expect(parse(text)).toMatchObject({ line, problem: expect.any(String) })
})
