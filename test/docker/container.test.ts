import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { docker } from './docker-client.ts'

const shell = (script: string, more: string) =>
  `image: busybox:stable\ncommand: ${JSON.stringify(['sh', '-c', script.replaceAll('$', '$$$$')])}\n${more}`

const functions = {
  'read-only': shell(
    'stat -c %a /run/secrets/token; cat /run/secrets/token; touch /nope',
    'network_mode: none\nread_only: true\nsecrets: [token]\n',
  ),
  shm: shell('df -k /dev/shm | tail -1', 'network_mode: none\nshm_size: 1m\n'),
  'env-file': shell(
    'echo $FROM_FILE $OVERRIDDEN',
    'network_mode: none\nenv_file: vars.env\nenvironment: { OVERRIDDEN: definition }\n',
  ),
}

let program: Program
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-host-'))
  await writeFile(join(folder, 'token'), 's3cret\n')
  program = await startProgram({
    functions,
    env: {
      ONESHOT_WARM_MEMORY: '0',
      ONESHOT_SECRETS: folder,
    },
  })
  await writeFile(join(program.functionsFolder, 'vars.env'), 'FROM_FILE=file\nOVERRIDDEN=file\n')
})
afterAll(async () => {
  await program?.stop()
  await rm(folder, { recursive: true })
})

async function call(name: string): Promise<Envelope> {
  const response = await fetch(`${program.url}/function/${name}`, { method: 'POST' })
  return (await response.json()) as Envelope
}

test('secrets reach a container whose root is read-only, and go with it', async () => {
  const volumes = await docker('volume', 'ls', '-q')
  const { stdout, stderr } = await call('read-only')
  expect(stdout).toBe('444\ns3cret\n')
  expect(stderr).toMatch(/Read-only file system/)
  await expect.poll(() => docker('volume', 'ls', '-q'), { timeout: 10_000 }).toBe(volumes)
})

test('/dev/shm has the size that was asked for', async () => {
  expect((await call('shm')).stdout).toMatch(/^shm +1024 /)
})

test('an env file gives variables, which the definition may override', async () => {
  await expect
    .poll(async () => (await call('env-file')).stdout, { timeout: 10_000 })
    .toBe('file definition\n')
})
