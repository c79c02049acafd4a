import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openApiKeys } from '../../src/access/api-keys.ts'
import { isKey, makeKey } from '../../src/access/key.ts'
import { temporaryFile } from './credentials.ts'

const script = join(import.meta.dirname, '../../scripts/api-key')
const run = (...args: string[]) => promisify(execFile)(script, args)

test('a key is of 32 random bytes, and no two are the same', () => {
  const key = makeKey()
  expect(key).toMatch(/^osk_[\w-]{43}$/)
  expect(Buffer.from(key.slice(4), 'base64url')).toHaveLength(32)
  expect(isKey(key)).toBe(true)
  expect(makeKey()).not.toBe(key)
})

describe('scripts/api-key', () => {
  test('tells the key, and prints an entry that lets it in', async () => {
    const args = ['ci', 'invoke:*', 'read', '--expires', '2999-01-31T00:00:00Z']
    const { stdout, stderr } = await run(...args)
    const [key = ''] = /osk_\S+/.exec(stderr) ?? []
    expect(stdout).not.toContain(key)
    const file = await temporaryFile(`keys:\n${stdout}${(await run('other', 'admin')).stdout}`)
    const silent = { clock: Date.now, onChange: () => {}, onProblem: () => {} }
    const keys = await openApiKeys({ file, ...silent })
    onTestFinished(() => keys[Symbol.dispose]())
    expect(keys.count()).toBe(2)
    expect(keys.identify(key)).toMatchObject({ name: 'ci', scopes: ['invoke:*', 'read'] })
  })

  test.each([
    [['ci'], 2, /scripts\/api-key NAME SCOPE/],
    [['ci', 'reed'], 1, /scopes\[0\] must be read/],
    [['a b', 'read'], 1, /name must be/],
    [['ci', 'read', '--expires', 'soon'], 1, /expires must be a time/],
    [['ci', 'read', '--oops'], 2, /scripts\/api-key NAME SCOPE/],
  ])('refuses %s, and makes no key', async (args, code, message) => {
    const failed = run(...args)
    await expect(failed).rejects.toMatchObject({
      code,
      stdout: '',
      stderr: expect.stringMatching(message) as string,
    })
    await expect(failed).rejects.not.toMatchObject({
      stderr: expect.stringContaining('osk_') as string,
    })
  })
})
