import { describe, expect, test } from 'vitest'
import { readDocument } from '../../src/gateway/definition-document.ts'

const LENGTH = 256 * 1024

function filled(head: string, item: (index: number) => string, tail: string): string {
  let text = head
  for (let index = 0; text.length < LENGTH - tail.length - 40; index += 1) text += item(index)
  return text + tail
}

function read(text: string) {
  const since = performance.now()
  const { problems } = readDocument('big.yml', text, {})
  return { problems, ms: performance.now() - since }
}

// What follows took 7 to 20 seconds, in which the gateway did nothing else.
describe('a definition that says more than it has letters is refused before it is written out', () => {
  const keys = filled('image: i\nx-a: &a\n', (index) => ` k${index}: v\n`, ' '.repeat(1000))

  test.each([
    ['an alias after each anchor', filled('x-a: [', (index) => `&a${index} 1,*a${index},`, ']')],
    ['aliases of one anchor', filled('x-a: &a 1\nx-b: [', () => '*a,', ']')],
    ['merges of a long map', `${keys}\nlabels: { <<: [${'*a,'.repeat(90)}] }\n`],
    [
      'merges of merges',
      Array.from({ length: 9 }, (_, index) => {
        const merged = index === 0 ? 'k: v' : `<<: [${`*a${index - 1},`.repeat(8)}]`
        return `x-${index}: &a${index} { ${merged} }\n`
      }).join(''),
    ],
  ])('%s', (_, text) => {
    const { problems, ms } = read(text)
    expect(problems).toMatchObject([
      { message: expect.stringMatching(/^expected at most/) as string },
    ])
    expect(ms).toBeLessThan(4_000)
  })
})

test('a definition may use an anchor a thousand times', () => {
  const { problems } = read(`x-a: &a { b: c }\nimage: i\nx-b: [${'*a,'.repeat(1_000)}]\n`)
  expect(problems).toEqual([])
})

test('an anchor that holds itself is refused', () => {
  expect(read('image: i\nx-a: &a [*a, *a, *a]\n').problems).toHaveLength(1)
})
