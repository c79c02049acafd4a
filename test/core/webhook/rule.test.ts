import { expect, test } from 'vitest'
import type { Rule } from '../../../src/core/trigger.ts'
import { parseJsonPath } from '../../../src/core/webhook/json-path.ts'
import { toHookHeaders } from '../../../src/core/webhook/request.ts'
import { matchesRule } from '../../../src/core/webhook/rule.ts'

const at = (text: string) => ({ path: parseJsonPath(text)! })
const headers = toHookHeaders([
  'X-GitHub-Event',
  'push',
  'X-Count',
  '3',
  'X-Two',
  'a',
  'X-Two',
  'b',
])
const json = {
  ref: 'refs/heads/main',
  count: 3,
  deleted: false,
  nothing: null,
  labels: [{ name: 'bug' }, { name: 'urgent' }],
}
const yes: Rule = { ...at('$.ref'), exists: true }
const no: Rule = { ...at('$.none'), exists: true }

test.each<[Rule, boolean]>([
  [{ ...at('$.ref'), eq: 'refs/heads/main' }, true],
  [{ ...at('$.ref'), eq: 'refs/heads/Main' }, false],
  [{ ...at('$.count'), eq: 3 }, true],
  [{ ...at('$.count'), eq: '3' }, false],
  [{ ...at('$.deleted'), eq: false }, true],
  [{ ...at('$.nothing'), eq: null }, true],
  [{ ...at('$.none'), eq: null }, false],
  [{ ...at('$.labels'), eq: 'bug' }, false],
  [{ ...at('$.labels[*].name'), eq: 'urgent' }, true],
  [{ ...at('$.labels[*].name'), eq: 'none' }, false],
  [{ ...at('$.count'), in: [1, 3] }, true],
  [{ ...at('$.count'), in: [] }, false],
  [{ header: 'x-github-event', in: ['push'] }, true],
  [{ header: 'x-count', eq: 3 }, true],
  [{ header: 'x-count', eq: '3' }, true],
  [{ header: 'x-none', eq: null }, false],
  [{ header: 'x-two', eq: 'b' }, true],
  [{ header: 'x-two', eq: 'a, b' }, false],
  [{ header: 'x-none', exists: false }, true],
  [{ header: 'x-none', match: '' }, false],
  [{ ...at('$.ref'), match: '^refs/heads/(main|release/.*)$' }, true],
  [{ ...at('$.ref'), match: 'heads' }, true],
  [{ ...at('$.count'), match: '3' }, false],
  [{ ...at('$.labels[*].name'), match: '^urg' }, true],
  [{ ...at('$.nothing'), exists: true }, true],
  [{ ...at('$.none'), exists: false }, true],
  [{ ...at('$.toString'), exists: true }, false],
  [{ all: [yes, yes] }, true],
  [{ all: [yes, no] }, false],
  [{ all: [] }, true],
  [{ any: [no, yes] }, true],
  [{ any: [no, no] }, false],
  [{ any: [] }, false],
  [{ not: no }, true],
  [{ not: { not: { all: [yes, { any: [no, yes] }] } } }, true],
])('%j: %s', (rule, expected) => {
  expect(matchesRule(rule, { headers, json })).toBe(expected)
  expect(matchesRule({ not: rule }, { headers, json })).toBe(!expected)
})

test('without a body that is JSON nothing is there', () => {
  const content = { headers, json: undefined }
  expect(matchesRule({ ...at('$'), exists: true }, content)).toBe(false)
  expect(matchesRule({ ...at('$.ref'), exists: false }, content)).toBe(true)
})

test('a regular expression takes little time, however hostile it is, and its text', () => {
  const hostile = ['^(([a-z])+.)+[A-Z]([a-z])+$', '(?:a|b|ab|ba|aa){200}[cd]$', '([ab]*){900}[xy]']
  for (const match of hostile) {
    for (const length of [1000, 4000, 50_000, 1_000_000]) {
      const begin = performance.now()
      expect(matchesRule({ ...at('$'), match }, { headers, json: 'a'.repeat(length) })).toBe(false)
      expect(performance.now() - begin).toBeLessThan(2000)
    }
  }
})

test('a rule that would take too much does not hold, nor does its opposite', () => {
  const isHeld = (rule: Rule, json: unknown) => matchesRule(rule, { headers, json })
  const long = 'a'.repeat(64 * 1024)
  const large = '(?:[ab]?){900}'
  for (const rule of [{ ...at('$'), match: 'a' }, { not: { ...at('$'), match: 'b' } }]) {
    expect(isHeld(rule, long)).toBe(true)
    expect(isHeld(rule, long.repeat(100))).toBe(false)
  }
  for (const rule of [{ ...at('$'), match: large }, { not: { ...at('$'), match: `${large}b` } }]) {
    expect(isHeld(rule, 'a')).toBe(true)
    expect(isHeld(rule, long)).toBe(false)
  }
  const list = Array.from({ length: 10_000 }, () => 'evil')
  for (const rule of [{ ...at('$[*]'), eq: 'evil' }, { not: { ...at('$[*]'), eq: 'good' } }]) {
    expect(isHeld(rule, list.slice(1))).toBe(true)
    expect(isHeld(rule, list)).toBe(false)
  }
  const texts = Array.from({ length: 9000 }, () => 'a'.repeat(1000))
  const begin = performance.now()
  expect(isHeld({ not: { ...at('$[*]'), match: '(a+)+b' } }, texts)).toBe(false)
  expect(performance.now() - begin).toBeLessThan(2000)
})
