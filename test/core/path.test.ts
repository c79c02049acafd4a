import { expect, test } from 'vitest'
import { absolutePath, isInside } from '../../src/core/path.ts'

test.each([
  ['/a/../b//c/./', '/b/c'],
  ['/../..', '/'],
  ['./x', '/folder/x'],
  ['../x', '/x'],
  ['x/../../..', '/'],
  ['', '/folder'],
])('%s is the path %s', (path, expected) => {
  expect(absolutePath(path, '/folder')).toBe(expected)
})

test('a folder holds itself and what is below it, not its namesakes', () => {
  expect(isInside('/a/b', '/a')).toBe(true)
  expect(isInside('/a', '/a')).toBe(true)
  expect(isInside('/ab', '/a')).toBe(false)
  expect(isInside('/a', '/a/b')).toBe(false)
  expect(isInside('/a', '/')).toBe(true)
})
