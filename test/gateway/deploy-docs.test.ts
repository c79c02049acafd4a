import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { parseDeployPolicy } from '../../src/core/deploy-policy.ts'
import { definitionSettings } from './definition-settings.ts'

const page = readFileSync(new URL('../../docs/functions.md', import.meta.url), 'utf8')
const [, section = ''] = page.split('\n### What may be deployed\n')
const { defaults } = definitionSettings()
const read = (written: unknown) =>
  parseDeployPolicy(written, { defaults, secretsFolder: '/run/secrets' })

/** The keys that could stand where an unknown one stands. */
function keysAt(written: object): readonly string[] {
  return read(written).problems?.find(({ known }) => known)?.known ?? []
}

test('the page has every key of a policy, and no other', () => {
  const cells = section.match(/^\| `.*?\|/gm) ?? []
  const named = cells.flatMap((cell) => cell.match(/(?<=`)\w+(?=`)/g) ?? [])
  expect(named.sort()).toEqual([...keysAt({ unknown: 1 })].sort())
})

test('the page has every limit of a policy', () => {
  const [row = ''] = section.match(/^\| `limits` .*$/m) ?? []
  const limits = keysAt({ limits: { unknown: 1 } })
  expect(limits.length).toBeGreaterThan(5)
  expect(limits.filter((limit) => !row.includes(`\`${limit}\``))).toEqual([])
})

test("the page's policy has no mistake", () => {
  const [, example] = /^```yml\n(.*?)^```/ms.exec(section) ?? []
  expect(read(parse(example!)).problems).toBeUndefined()
})
