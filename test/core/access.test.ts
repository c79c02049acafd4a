import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Scope } from '../../src/core/access.ts'
import { allows, isScope } from '../../src/core/access.ts'
import { parseRate } from '../../src/core/rate.ts'

describe('scopes', () => {
  test.each<[Scope[], string, boolean]>([
    [['invoke:*'], 'hello', true],
    [['invoke:hello'], 'hello', true],
    [['invoke:hello'], 'hello2', false],
    [['invoke:hello'], 'hell', false],
    [['invoke:he*'], 'hello', true],
    [['invoke:he*'], 'h', false],
    [['admin'], 'hello', true],
    [['read', 'deploy'], 'hello', false],
    [[], 'hello', false],
  ])('%s allow to call %s: %s', (scopes, name, expected) => {
    expect(allows({ scopes }, { invoke: name })).toBe(expected)
  })

  test('allow what they name, and only admin allows all', () => {
    const needs = ['read', 'deploy', 'admin'] as const
    for (const need of needs) {
      for (const scope of needs) {
        expect(allows({ scopes: [scope] }, need)).toBe(scope === need || scope === 'admin')
      }
      expect(allows({ scopes: ['invoke:*'] }, need)).toBe(false)
    }
  })

  test.each([
    'Read',
    'invoke:',
    'invoke:**',
    'invoke:a*b',
    'invoke:A',
    'invoke:../a',
    'read ',
    '*',
    'invoke:*\n',
  ])('are not written "%s"', (text) => {
    expect(isScope(text)).toBe(false)
  })

  test('are never met by a text that is none', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (isScope(text)) return
        expect(allows({ scopes: ['read', 'invoke:a'] }, { invoke: `a${text}` })).toBe(text === '')
      }),
    )
  })
})

test.each([
  ['50/s', { count: 50, perMs: 1000 }],
  ['100/m', { count: 100, perMs: 60_000 }],
  ['1/h', { count: 1, perMs: 3_600_000 }],
  ['0/s', undefined],
  ['50', undefined],
  ['-1/s', undefined],
  ['1.5/s', undefined],
  ['50/d', undefined],
  ['9999999/s', undefined],
])('the rate %s', (text, rate) => {
  expect(parseRate(text)).toEqual(rate)
})
