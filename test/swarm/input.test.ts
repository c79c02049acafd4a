import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gateway } from '../contract/gateway.ts'
import { nothingLeft, shell, startGateway } from '../contract/gateway.ts'
import { eventually } from '../docker/containers.ts'
import { docker } from '../docker/docker-client.ts'

const bare = `oneshot-test/bare:${process.pid}`
const shared = `oneshot-test-spool-${process.pid}`
const empty = `oneshot-test-empty-${process.pid}`

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-test-spool-'))
  await chmod(folder, 0o755)
  // One program and no shell.
  const dockerfile = `FROM busybox:stable AS busybox
FROM scratch
COPY --from=busybox /bin/busybox /cat
`
  const context = await mkdtemp(join(tmpdir(), 'oneshot-test-bare-'))
  await writeFile(join(context, 'Dockerfile'), dockerfile)
  await docker('build', '--quiet', '--tag', bare, context)
  await rm(context, { recursive: true })
  const bind = ['--opt=type=none', '--opt=o=bind', `--opt=device=${folder}`]
  await docker('volume', 'create', ...bind, shared)
  await docker('volume', 'create', empty)
})

afterAll(async () => {
  await docker('rmi', '--force', bare)
  const remove = () => docker('volume', 'rm', '--force', shared, empty).then(() => true)
  await eventually(() => remove().catch(() => false), Boolean)
  await rm(folder, { recursive: true })
})

const functions = {
  needy: `image: ${bare}\nnetwork_mode: none\nentrypoint: [/cat]\n`,
  reader: `image: ${bare}
network_mode: none
input: file
entrypoint: [/cat]
command: [/run/oneshot/input]
`,
  file: shell('cat "$ONESHOT_INPUT_FILE"', 'input: file'),
  name: shell('echo "$ONESHOT_INPUT_FILE"; wc -c <"$ONESHOT_INPUT_FILE"', 'input: file'),
  sum: shell('sha256sum'),
  confined: shell('id -u; wc -c', "user: '1234:1234'\nread_only: true\n"),
}

describe('without a spool volume', () => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway({ functions })
  })
  afterAll(() => gateway?.stop())

  test('an input for an image that has no shell is refused at once, with what to do', async () => {
    const answer = await gateway.envelope('needy', { body: 'some' })
    expect(answer).toMatchObject({
      status: 422,
      reason: 'not_started',
      error: { code: 'stdin_unsupported' },
    })
    expect(answer.error?.detail).toContain('ONESHOT_INPUT_FILE')
    await nothingLeft('needy')
  })

  test('such an image runs without an input', async () => {
    expect(await gateway.envelope('needy')).toMatchObject({ exitCode: 0, stdout: '' })
  })

  test('a command of such an image reads its input from the file', async () => {
    expect(await gateway.envelope('reader', { body: 'some' })).toMatchObject({
      exitCode: 0,
      stdout: 'some',
    })
  })

  test('a call without an input has an empty file', async () => {
    expect((await gateway.envelope('name')).stdout).toBe('/dev/null\n0\n')
  })

  test('an input that is too large for a config is answered 413, which says what to set', async () => {
    const { status, code, detail } = await gateway.problem('sum', { body: randomBytes(2_000_000) })
    expect([status, code]).toEqual([413, 'input_too_large'])
    expect(detail).toContain('ONESHOT_SPOOL_VOLUME')
    await nothingLeft('sum')
  })
})

describe('with a spool volume', () => {
  let gateway: Gateway
  beforeAll(async () => {
    const env = { ONESHOT_SPOOL_VOLUME: shared, ONESHOT_SPOOL_PATH: folder }
    gateway = await startGateway({ functions, env })
  })
  afterAll(() => gateway?.stop())

  const spooled = async () => (await readdir(folder, { recursive: true })).length

  test('an input of 5 MB comes whole, and leaves nothing', async () => {
    const body = randomBytes(5_000_000)
    const sum = createHash('sha256').update(body).digest('hex')
    expect((await gateway.envelope('sum', { body })).stdout).toBe(`${sum}  -\n`)
  })

  test('any user reads it', async () => {
    const { stdout } = await gateway.envelope('confined', { body: randomBytes(2_000_000) })
    expect(stdout).toBe('1234\n2000000\n')
  })

  test('a command finds it by its name', async () => {
    const { stdout } = await gateway.envelope('name', { body: randomBytes(2_000_000) })
    expect(stdout).toMatch(/^\/run\/oneshot\/spool\/.*\/input\n2000000\n$/)
  })

  test('nothing of it stays', async () => {
    await nothingLeft()
    // The gateway's own folder in it may.
    expect(await eventually(spooled, (count) => count <= 1)).toBe(1)
  })
})

test('a node with another volume of that name is told of, and no exit code of the command is made up', async () => {
  const env = { ONESHOT_SPOOL_VOLUME: empty, ONESHOT_SPOOL_PATH: folder }
  await using gateway = await startGateway({ functions, env })
  const answer = await gateway.envelope('sum', { body: randomBytes(2_000_000) })
  expect(answer).toMatchObject({
    reason: 'not_started',
    exitCode: null,
    error: { code: 'mount_not_found' },
  })
})
