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
    unset: [],
  })
})

test('the format raw takes everything after = as it is', () => {
  expect(parse(`A='x' # "$OUTER"\nB= y `, 'raw')).toEqual({
    variables: { A: `'x' # "$OUTER"`, B: ' y ' },
    unset: [],
  })
})

test.each(['KEY: value', 'A: a=b'])('the format raw knows no colon: %j is refused', (text) => {
  expect(parse(text, 'raw')).toEqual({ problem: 'expected NAME=value', line: 1 })
})

test('a variable that nobody has set is told of, unless it is in single quotes or has a default', () => {
  const text = 'A=[$ONE]\nB="${TWO}$A$ONE"\nC=\'$NOT\'\nD=${NOT:-d}\nALONE\n'
  expect(parse(text)).toEqual({
    variables: { A: '[]', B: '[]', C: '$NOT', D: 'd' },
    unset: ['ONE', 'TWO'],
  })
})

const MIB = 1024 * 1024
test.each([
  ['many variables', numbered((n) => `V${n}=$OUTER`)],
  ['many spaces', `A=x${' '.repeat(MIB)}x # ${' '.repeat(MIB)}`],
  ['many hashes', `A=${'x#'.repeat(MIB / 2)}`],
  ['many quotes over many lines', `A="${'x\n'.repeat(MIB / 2)}"`],
  ['an open quote', `A='${'\n'.repeat(MIB)}`],
  ['many unset variables', numbered((n) => `A=$U${n}`)],
])('1 MiB of %s takes no long time', { timeout: 30_000 }, (_, text) => {
  const begin = performance.now()
  parse(text)
  expect(performance.now() - begin).toBeLessThan(15_000)
})

test('lines that each hold the one before twice end before they are long', () => {
  const text = `A=xxxxxxxx\n${'A=$A$A\n'.repeat(40)}`
  expect(parse(text)).toEqual({ problem: 'the values become longer than 1.75 MiB', line: 18 })
  expect(parse(`A=${'x'.repeat(MIB)}\nB=${'$A'.repeat(1000)}`)).toEqual({
    problem: 'the text becomes longer than 1.75 MiB',
    line: 2,
  })
})

function numbered(line: (n: number) => string): string {
  return Array.from({ length: MIB / 16 }, (_, n) => line(n)).join('\n')
}

test('a placeholder in an env file is a text like any other', () => {
  expect(parse('A=${{ name }}')).toEqual({ variables: { A: '${{ name }}' }, unset: [] })
})

test('a name that nobody has set is not found on an object', () => {
  expect(parse('constructor\nA=[${toString}]')).toEqual({
    variables: { A: '[]' },
    unset: ['toString'],
  })
})

test.each([
  ['A=1\n=2', 2],
  ['A=1\n\nnot an assignment', 3],
  ['A="open\nB=2', 1],
  ["A=1\nB='open", 2],
  ['A=5$', 1],
  ['A=\0', 1],
  [`A=1\nB=${'${A:-'.repeat(200_000)}`, 2],
])('%j is refused, with its line', (text, line) => {
  expect(parse(text)).toMatchObject({ line, problem: expect.any(String) })
})
