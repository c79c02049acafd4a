import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parseDefinition } from '../../src/core/definition/definition.ts'
import { readSpec } from './definition-settings.ts'

const page = readFileSync(new URL('../../docs/triggers.md', import.meta.url), 'utf8')
const examples = Array.from(page.matchAll(/^```yaml\n([^]*?)^```/gm), ([, text = '']) => text)

/** Fit for every provider. */
const secret = `whsec_${Buffer.alloc(24, 'x').toString('base64')}`

async function readExample(example: string) {
  const names = example.match(/(?<=env: )\w+/g) ?? []
  const environment = Object.fromEntries(names.map((name) => [name, secret]))
  return (await readSpec(example, { environment })).triggers
}

// In code only: as a word of prose a key could be there by chance.
const words = new Set(
  page.match(/```[^]*?```|`[^`]+`/g)?.flatMap((code) => code.match(/[\w-]+/g) ?? []),
)

/** The keys that could stand where an unknown one stands in a trigger. */
function keysAt(trigger: object): readonly string[] {
  const { problems } = parseDefinition({ image: 'i', triggers: [trigger] })
  return problems?.find(({ known }) => known)?.known ?? []
}

const hook = { type: 'webhook', provider: 'github', secrets: [{ env: 'A' }] }
const hmac = { ...hook, provider: 'hmac', header: 'X' }

describe('docs/triggers.md', () => {
  test.each<[string, object]>([
    ['a schedule', { type: 'schedule', every: '5m', unknown: 1 }],
    ['a webhook', { ...hook, unknown: 1 }],
    ['hmac', { ...hmac, unknown: 1 }],
    ['token', { ...hook, provider: 'token', unknown: 1 }],
    ['none', { type: 'webhook', provider: 'none', allowUnsigned: true, unknown: 1 }],
    ['cloudevents', { ...hook, provider: 'cloudevents', unknown: 1 }],
    ['a secret', { ...hook, secrets: [{ env: 'A', unknown: 1 }] }],
    ['when', { ...hook, when: { unknown: 1 } }],
    ['input', { ...hook, input: { unknown: 1 } }],
    ['concurrency', { ...hook, concurrency: { unknown: 1 } }],
    ['a selector', { ...hook, concurrency: { key: { unknown: 1 } } }],
    ['timestamp', { ...hmac, timestamp: { header: 'X', unknown: 1 } }],
    ['what is mapped', { ...hook, input: { environment: { A: { unknown: 1 } } } }],
  ])('names every key of %s', (_, trigger) => {
    const keys = keysAt(trigger)
    expect(keys.length).toBeGreaterThan(1)
    expect(keys.filter((key) => !words.has(key))).toEqual([])
  })

  test('has no section twice, and none without a text', () => {
    const [, ...sections] = page.replaceAll(/^```[^]*?^```/gm, 'code').split(/^#+ (?=\S)/m)
    const titles = sections.map((section) => section.split('\n', 1)[0]!)
    expect(titles).toEqual([...new Set(titles)])
    expect(titles.length).toBeGreaterThan(10)
    // The first section of a part may stand for its text.
    expect(sections.filter((section) => section.trim().split('\n').length < 2)).toEqual([])
  })

  test.each(examples)('has a definition that can be used: %s', async (example) => {
    expect(await readExample(example)).not.toEqual([])
  })

  test('counts the bytes of its dry run', () => {
    const [, body = ''] = /^body='(.*)'$/m.exec(page) ?? []
    const told = Array.from(page.matchAll(/"(?:body|stdin)Bytes": (\d+)/g), ([, bytes]) => bytes)
    expect(told).toEqual([String(body.length), String(body.length)])
  })

  test('has an example of every provider', async () => {
    const triggers = (await Promise.all(examples.map(readExample))).flat()
    const shown = new Set(
      triggers.flatMap((it) => (it.type === 'webhook' ? it.scheme.provider : [])),
    )
    const [, table = ''] = page.split('\n## Providers\n')
    const [, ...named] = table.split('\n## ')[0]!.match(/(?<=^\| `)\w+(?=` \|)/gm) ?? []
    expect(new Set(named)).toEqual(shown)
    expect(shown.size).toBe(11)
  })
})
