import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitWords } from '../../src/core/shell-words.ts'

test.each([
  ['echo a  b', ['echo', 'a', 'b']],
  [`sh -c 'echo "$HOME"; ls'`, ['sh', '-c', 'echo "$HOME"; ls']],
  [String.raw`a\ b "c\"d\\e\n"`, ['a b', String.raw`c"d\e\n`]],
  [`''`, ['']],
  [`a''b`, ['ab']],
  ['a;b|c > d', ['a;b|c', '>', 'd']],
  ['  ', []],
])('%j is split as Compose splits it, and nothing in it is run', (text, words) => {
  expect(splitWords(text)).toEqual(words)
})

test.each([`echo 'a`, `echo "a`, 'echo \\'])('%j is no command line', (text) => {
  expect(splitWords(text)).toBeUndefined()
})

test('words that are quoted come back as they were', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      const quoted = words.map((word) => `'${word.replaceAll("'", `'"'"'`)}'`)
      expect(splitWords(quoted.join(' '))).toEqual(words)
    }),
  )
})
