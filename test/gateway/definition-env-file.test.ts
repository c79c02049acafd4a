import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readDefinition } from '../../src/gateway/definition.ts'
import { definitionSettings } from './definition-settings.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-env-'))
})
afterEach(() => rm(folder, { recursive: true }))

function read(text: string, environment: Record<string, string> = {}) {
  return readDefinition(
    join(folder, 'test.yml'),
    `image: i\n${text}`,
    definitionSettings({ environment }),
  )
}

test('env files are read beside the definition, later ones win, and environment wins over all', async () => {
  await writeFile(join(folder, 'one.env'), 'A=1\nB=1\nC=1\nT=${{ p }}\n')
  await writeFile(join(folder, 'two.env'), 'B="$OUTER-$A"\nC=2\n')
  await writeFile(join(folder, 'raw.env'), "D='$OUTER'\n")
  const text = `
env_file: [one.env, { path: ./two.env, required: true }, { path: raw.env, format: raw }, { path: none.env, required: false }]
environment: { C: "3" }
`
  const result = await read(text, { OUTER: 'outer' })
  expect(result.spec?.container.environment).toEqual({
    A: '1',
    B: 'outer-1',
    C: '3',
    D: "'$OUTER'",
    T: '${{ p }}',
  })
  expect(result.readFiles).toEqual(
    ['one.env', 'two.env', 'raw.env', 'none.env'].map((name) => join(folder, name)),
  )
})

test('an env file that is missing, broken or no file is told of', async () => {
  await writeFile(join(folder, 'broken.env'), 'A=1\nwhat is this\n')
  const result = await read('env_file: [none.env, broken.env, .]\n')
  expect(result.problems).toMatchObject([
    { key: 'env_file', line: 2, message: expect.stringContaining('none.env is not there') },
    { key: 'env_file', line: 2, message: 'broken.env:2: expected NAME=value' },
    { key: 'env_file', line: 2, message: '. is not a regular file' },
  ])
  expect(result.readFiles).toHaveLength(3)
})

test('a variable that an env file asks for and nobody has set is warned of', async () => {
  await writeFile(join(folder, 'one.env'), 'A=$UNSET\n')
  expect(await read('env_file: one.env\n')).toMatchObject({
    spec: { container: { environment: { A: '' } } },
    warnings: ['one.env: the variable UNSET is not set: it became empty.'],
  })
})

test('a parameter never takes the place of a variable of an env file', async () => {
  await writeFile(join(folder, 'one.env'), 'A=1\n')
  const result = await read('env_file: one.env\nparameters: { A: { type: string } }\n')
  expect(result.problems).toMatchObject([{ key: 'parameters.A' }])
})

test('a variable that no program could be started with is refused', async () => {
  await writeFile(join(folder, 'one.env'), `A=${'x'.repeat(101 * 1024)}\n`)
  const result = await read('env_file: one.env\n')
  expect(result.problems).toMatchObject([{ message: expect.stringContaining('100 KiB') }])
})
