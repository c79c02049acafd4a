import { rename, rm, writeFile } from 'node:fs/promises'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ApiKeysOptions } from '../../src/access/api-keys.ts'
import { findMistake, openApiKeys } from '../../src/access/api-keys.ts'
import { makeKey, showEntry, toHash } from '../../src/access/key.ts'
import { temporaryFile, temporaryFolder } from './credentials.ts'

async function open(text: string, options: Partial<ApiKeysOptions> = {}) {
  const file = await temporaryFile(text, 'keys.yml')
  const problems: string[] = []
  const counts: number[] = []
  const keys = await openApiKeys({
    file,
    clock: Date.now,
    onChange: (count) => void counts.push(count),
    onProblem: (problem) => void problems.push(problem.message),
    ...options,
  })
  onTestFinished(() => keys[Symbol.dispose]())
  return { keys, file, problems, counts }
}

const toFile = (...entries: string[]) => `keys:\n${entries.join('')}`

describe('a key of the file', () => {
  test('is known by its hash, with its name, scopes and rate', async () => {
    const key = makeKey()
    const text = `${toFile(showEntry(key, { name: 'ci', scopes: ['read', 'invoke:a*'] }))}    rate: 5/s\n`
    const { keys } = await open(text)
    expect(text).not.toContain(key)
    expect(keys.identify(key)).toEqual({
      kind: 'key',
      name: 'ci',
      scopes: ['read', 'invoke:a*'],
      rate: { count: 5, perMs: 1000 },
    })
  })

  test('is another one with any change', async () => {
    const key = makeKey()
    const { keys } = await open(toFile(showEntry(key, { name: 'ci', scopes: ['read'] })))
    for (const wrong of [`${key}a`, key.slice(0, -1), key.toUpperCase(), toHash(key), '']) {
      expect(() => keys.identify(wrong)).toThrow(expect.objectContaining({ reason: 'key_unknown' }))
    }
  })

  test('ends at its expiry', async () => {
    const key = makeKey()
    const expires = '2027-01-31T01:00:00+01:00'
    const end = Date.UTC(2027, 0, 31)
    let now = end - 1
    const text = toFile(showEntry(key, { name: 'ci', scopes: ['read'], expires }))
    const { keys } = await open(text, { clock: () => now })
    expect(keys.identify(key).name).toBe('ci')
    now = end
    expect(() => keys.identify(key)).toThrow(expect.objectContaining({ reason: 'key_expired' }))
  })

  test('may stand in JSON', async () => {
    const key = makeKey()
    const entry = { name: 'ci', hash: `sha256:${toHash(key)}`, scopes: ['admin'] }
    const { keys } = await open(JSON.stringify({ keys: [entry] }))
    expect(keys.identify(key).scopes).toEqual(['admin'])
  })
})

describe('a file that is changed', () => {
  const first = makeKey()
  const second = makeKey()
  const one = showEntry(first, { name: 'one', scopes: ['read'] })
  const two = showEntry(second, { name: 'two', scopes: ['read'] })

  test('is read anew, so that a key that was taken out is refused', async () => {
    const { keys, file, counts } = await open(toFile(one, two))
    await writeFile(file, toFile(two))
    await keys.check()
    expect(() => keys.identify(first)).toThrow(expect.objectContaining({ reason: 'key_unknown' }))
    expect(keys.identify(second).name).toBe('two')
    expect(counts).toEqual([1])
  })

  test('is noticed by itself, also when another takes its place', async () => {
    const { keys, file } = await open(toFile(one), { pollMs: 5 })
    await writeFile(`${file}.new`, toFile(two))
    await rename(`${file}.new`, file)
    await vi.waitFor(() => expect(keys.identify(second).name).toBe('two'))
  })

  test.each([
    ['broken', 'keys: ['],
    ['of another shape', 'keys: {}'],
    ['a list of mistakes', toFile(one).replace('read', 'reed')],
    ['empty', ''],
  ])('so that it is %s leaves things as they were, and is told once', async (_, text) => {
    const { keys, file, problems } = await open(toFile(one))
    await writeFile(file, text)
    await keys.check()
    await keys.check()
    expect(keys.identify(first).name).toBe('one')
    expect(problems).toHaveLength(1)
    await writeFile(file, toFile(two))
    await keys.check()
    expect(keys.identify(second).name).toBe('two')
  })

  test('so that it is gone leaves things as they were', async () => {
    const { keys, file, problems } = await open(toFile(one))
    await rm(file)
    await keys.check()
    expect(keys.identify(first).name).toBe('one')
    expect(problems).toEqual([expect.stringMatching(/keys\.yml: is not there$/)])
  })

  test('so that no key is left lets nobody in', async () => {
    const { keys, file } = await open(toFile(one))
    await writeFile(file, 'keys: []\n')
    await keys.check()
    expect(keys.count()).toBe(0)
    expect(() => keys.identify(first)).toThrow(expect.objectContaining({ reason: 'key_unknown' }))
  })
})

describe('a file with a mistake is told of, by what is wrong and never by what it holds', () => {
  const secret = makeKey()
  const entry = showEntry(secret, { name: 'one', scopes: ['read'] })
  const hash = `sha256:${toHash(secret)}`

  test.each([
    ['two names', toFile(entry, entry), /two keys have the name one/],
    ['one key twice', toFile(entry, entry.replace('one', 'two')), /the key of two has another/],
    ['the key itself', toFile(entry.replace(hash, secret)), /keys\[0\]\.hash must be sha256:/],
    ['a short hash', toFile(entry.replace(hash, hash.slice(0, -1))), /keys\[0\]\.hash must be/],
    ['no hash', 'keys: [{ name: a, scopes: [read] }]', /keys\[0\]\.hash /],
    ['no scope', toFile(entry.replace('- read', '[]')), /keys\[0\]\.scopes must list at least one/],
    [
      'a key as scope',
      toFile(entry.replace('read', secret)),
      /keys\[0\]\.scopes\[0\] must be read/,
    ],
    ['an odd name', toFile(entry.replace('one', 'a b')), /keys\[0\]\.name must be 1 to 64/],
    ['a day', toFile(`${entry}    expires: 2027-01-31\n`), /keys\[0\]\.expires must be a time/],
    ['a rate', toFile(`${entry}    rate: fast\n`), /keys\[0\]\.rate must be a rate/],
    ['another key', toFile(`${entry}    scope: read\n`), /keys\[0\].*scope/],
    ['no list', 'a: 1', /keys /],
    ['no YAML', `keys: [${secret}`, /line 1, column \d+ is not valid YAML/],
    ['aliases', `keys: [&a { name: one }, *a]`, /it /],
  ])('%s', async (_, text, message) => {
    const error = await open(text).catch((thrown: unknown) => thrown as Error)
    expect(error).toMatchObject({ name: 'AccessProblem' })
    expect((error as Error).message).toMatch(message)
    expect((error as Error).message).not.toContain(secret)
  })

  test('before it is written, as scripts/api-key does', () => {
    expect(findMistake(toFile(entry))).toBeUndefined()
    expect(findMistake(toFile(entry.replace('read', 'reed')))).toMatch(/scopes\[0\] must be/)
  })

  test('that it is missing, or no file', async () => {
    const folder = await temporaryFolder()
    const missing = open('', { file: `${folder}/none` })
    await expect(missing).rejects.toThrow(`${folder}/none: is not there`)
    await expect(open('', { file: folder })).rejects.toThrow('is not a regular file')
  })
})
