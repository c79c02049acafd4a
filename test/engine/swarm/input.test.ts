import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { createInputs } from '../../../src/engine/swarm/input.ts'
import { functionSpec } from '../../function-spec.ts'

const spec = functionSpec({})
const task = { invocationId: 'i', attempt: 1, spec, container: spec.container }

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-inputs-'))
  return () => rm(folder, { recursive: true })
})

function put(stdin: AsyncIterable<Uint8Array>) {
  const managers = { ask: async () => ({ Driver: 'local', Options: null }) } as never
  const spool = { name: 'spool', folder }
  return createInputs({ managers, gatewayId: 'g', spool }).put('oneshot-i', task, stdin)
}

async function* large(failure?: Error) {
  yield Buffer.alloc(2_000_000)
  if (failure) throw failure
}

test('a spool volume that cannot be written to is no fault of the managers', async () => {
  await writeFile(join(folder, 'g'), 'in the way')
  await expect(put(large())).rejects.toMatchObject({
    failure: {
      code: 'engine_failed',
      detail: expect.stringMatching(/ONESHOT_SPOOL_PATH.*(?:EEXIST|ENOTDIR)/) as string,
    },
  })
})

test("an input's own failure is told as it is", async () => {
  const failure = new Error('cut off')
  await expect(put(large(failure))).rejects.toBe(failure)
})

test('an input can be read by any user who has its path, and found by none, whatever the umask', async () => {
  const umask = process.umask(0o077)
  try {
    await put(large())
  } finally {
    process.umask(umask)
  }
  const modeOf = async (path: string) => (await stat(join(folder, path))).mode & 0o777
  expect(await modeOf('g')).toBe(0o711)
  expect(await modeOf('g/oneshot-i')).toBe(0o711)
  expect(await modeOf('g/oneshot-i/input')).toBe(0o444)
})
