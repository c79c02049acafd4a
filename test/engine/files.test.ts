import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Docker from 'dockerode'
import { afterAll, expect, test } from 'vitest'
import { createFiles } from '../../src/engine/files.ts'
import { functionSpec } from '../function-spec.ts'

const folder = await mkdtemp(join(tmpdir(), 'oneshot-files-'))
afterAll(() => rm(folder, { recursive: true }))
const files = createFiles({ docker: new Docker(), secretsFolder: folder, configsFolder: folder })
const stampOf = (source: string) => {
  const reference = { source, target: '/run/x', mode: 0o400, uid: 0, gid: 0 }
  return files.stamp(functionSpec({ container: { secrets: [reference] } }).container)
}

test('a stamp tells when a file has changed', async () => {
  const path = join(folder, 'token')
  const stamps = [stampOf('token')]
  for (const content of ['one', 'other']) {
    await writeFile(path, content)
    stamps.push(stampOf('token'))
  }
  expect(new Set(stamps).size).toBe(3)
  expect(stampOf('token')).toBe(stamps.at(-1))
})

test.each([
  ['a name that is too long', 'x'.repeat(300)],
  ['a loop of links', 'loop'],
  ['a folder that is a file', 'file/token'],
])('a stamp outlives %s', async (_, source) => {
  await symlink('loop', join(folder, 'loop')).catch(() => {})
  await writeFile(join(folder, 'file'), '')
  expect(stampOf(source)).toMatch(/^E[A-Z]+$/)
})
