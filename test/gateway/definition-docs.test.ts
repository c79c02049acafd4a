import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parseDefinition } from '../../src/core/definition/definition.ts'
import { pullPolicies, refusedKeys } from '../../src/core/definition/refused.ts'
import { formats } from '../../src/core/parameter-value.ts'
import { allowances } from '../../src/core/policy.ts'
import { readSpec } from './definition-settings.ts'

const read = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')
const page = read('functions.md')
// In code only: as a word of prose a key could be there by chance.
const words = new Set(
  page.match(/```[^]*?```|`[^`]+`/g)?.flatMap((code) => code.match(/[\w-]+/g) ?? []),
)

/** The keys that could stand where an unknown one stands. */
function keysAt(place: (unknown: object) => object): readonly string[] {
  const { problems } = parseDefinition({ image: 'i', ...place({ unknown: 1 }) })
  return problems?.find(({ known }) => known)?.known ?? []
}

const volume = (entry: object) => ({ volumes: [{ type: 'volume', target: '/a', ...entry }] })
const resources = (entry: object) => ({ deploy: { resources: entry } })
const resource = { discrete_resource_spec: { kind: 'k', value: 1, unknown: 1 } }

test.each<[string, (unknown: object) => object]>([
  ['a definition', (unknown) => unknown],
  ['limits', (limits) => ({ limits })],
  ['retries', (retries) => ({ retries })],
  ['callback', (callback) => ({ callback })],
  ['a parameter', (unknown) => ({ parameters: { a: { type: 'string', ...unknown } } })],
  ['env_file', (unknown) => ({ env_file: [{ path: 'a', ...unknown }] })],
  ['a volume', volume],
  ['bind', (bind) => volume({ type: 'bind', source: '/a', bind })],
  ['volume', (options) => volume({ volume: options })],
  ['tmpfs', (tmpfs) => volume({ type: 'tmpfs', tmpfs })],
  ['a secret', (unknown) => ({ secrets: [{ source: 'a', ...unknown }] })],
  ['a network', (a) => ({ networks: { a } })],
  ['a device', (unknown) => ({ devices: [{ source: '/a', ...unknown }] })],
  ['a ulimit', (unknown) => ({ ulimits: { a: { soft: 1, hard: 1, ...unknown } } })],
  ['gpus', (unknown) => ({ gpus: [unknown] })],
  ['deploy', (deploy) => ({ deploy })],
  ['deploy.resources', resources],
  ['deploy.resources.limits', (limits) => resources({ limits })],
  ['deploy.resources.reservations', (reservations) => resources({ reservations })],
  ['generic_resources', () => resources({ reservations: { generic_resources: [resource] } })],
  ['deploy.placement', (placement) => ({ deploy: { placement } })],
])('the page names every key of %s', (_, place) => {
  const keys = keysAt(place)
  expect(keys.length).toBeGreaterThan(1)
  expect(keys.filter((key) => !words.has(key))).toEqual([])
})

test('every key in a table of definition keys is one', () => {
  const known = new Set(keysAt((unknown) => unknown))
  const sections = page
    .split(/^## /m)
    .filter((section) => /^(?:Keys of our own|Compose)/.test(section))
  const rows = sections.join().match(/^\| `.*?\|/gm) ?? []
  const keys = rows.flatMap((row) => row.match(/(?<=`)\w+(?=`)/g) ?? [])
  expect(keys.length).toBeGreaterThan(40)
  expect(keys.filter((key) => !known.has(key))).toEqual([])
  expect(Object.keys({ ...refusedKeys, ...pullPolicies }).filter((key) => known.has(key))).toEqual(
    [],
  )
})

test('the page names every allowance and every format', () => {
  expect([...allowances, ...Object.keys(formats)].filter((name) => !words.has(name))).toEqual([])
})

const examplesOf = (text: string) =>
  Array.from(text.matchAll(/^```yaml\n(.*?)^```/gms), (match) => match[1]!)
const examples = examplesOf(page)

test('the page has examples', () => {
  expect(examples.length).toBeGreaterThan(6)
})

test.each(examples)('the example %# is a definition without a mistake', async (example) => {
  expect((await readSpec(example)).container.image).toMatch(/busybox|python/)
})

// The others are parts of stack files.
const swarmExamples = examplesOf(read('swarm.md')).filter((example) => example.startsWith('image:'))

test.each(swarmExamples)('the example %# of swarm.md is one that a swarm can run', async (it) => {
  expect((await readSpec(it, { backend: 'swarm' })).container.image).toBe('busybox:stable')
})
