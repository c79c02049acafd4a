import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OneshotError } from '../../src/core/error.ts'
import type { RunHelper } from '../../src/engine/credentials.ts'
import { createCredentials } from '../../src/engine/credentials.ts'

const DOCKER_HUB = 'https://index.docker.io/v1/'
const SECRET = 'pa:ss:wörd'
const auth = Buffer.from(`ann:${SECRET}`).toString('base64')
const ann = { username: 'ann', password: SECRET }

let folder: string
let configFile: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-credentials-'))
  configFile = join(folder, 'config.json')
})
afterEach(() => rm(folder, { recursive: true }))

const noHelper: RunHelper = () => Promise.reject(new Error('no helper was expected to run'))

async function configure(config: unknown, run: RunHelper = noHelper) {
  await writeFile(configFile, typeof config === 'string' ? config : JSON.stringify(config))
  return createCredentials({ configFile, env: {}, run })
}

/** A program on the PATH, as users install it. */
async function installHelper(name: string, script: string) {
  const path = join(folder, `docker-credential-${name}`)
  await writeFile(path, `#!/bin/sh\n${script}\n`)
  await chmod(path, 0o755)
  const env = { PATH: `${folder}${delimiter}${process.env['PATH']}` }
  return createCredentials({ configFile, env })
}

async function failureOf(promise: Promise<unknown>): Promise<OneshotError> {
  const failure = await promise.then(
    () => expect.unreachable('it should fail'),
    (error: unknown) => error as OneshotError,
  )
  expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain('ss:wörd')
  return failure
}

describe('in the config file', () => {
  it('a login to Docker Hub serves names without a registry', async () => {
    const credentials = await configure({ auths: { [DOCKER_HUB]: { auth } } })
    const found = { serveraddress: DOCKER_HUB, ...ann }
    expect(await credentials.find('busybox')).toEqual(found)
    expect(await credentials.find('docker.io/team/app:v1')).toEqual(found)
    expect(await credentials.find('registry.example/team/app')).toBeUndefined()
  })

  it.each([
    'registry.example:5000',
    'http://registry.example:5000',
    'https://registry.example:5000',
    'https://registry.example:5000/',
    'registry.example:5000/v1/',
    'https://registry.example:5000/v2/',
  ])('a login written as %s serves the images of that host and port alone', async (key) => {
    const credentials = await configure({ auths: { [key]: { auth } } })
    const found = { serveraddress: 'registry.example:5000', ...ann }
    expect(await credentials.find('registry.example:5000/app')).toEqual(found)
    expect(await credentials.find('registry.example/app')).toBeUndefined()
    expect(await credentials.find('registry.example:5001/app')).toBeUndefined()
    expect(await credentials.find('app')).toBeUndefined()
  })

  it('the entry for the very server goes before one that has the same host', async () => {
    const other = Buffer.from('bob:other').toString('base64')
    const credentials = await configure({
      auths: { 'https://a.b/v1/': { auth: other }, 'a.b': { auth } },
    })
    expect(await credentials.find('a.b/app')).toMatchObject({ username: 'ann' })
  })

  it('a user and password, an identity token and a registry token are found', async () => {
    const credentials = await configure({
      auths: {
        'a.b': { username: 'ann', password: SECRET },
        'c.d': { auth: Buffer.from('ann:').toString('base64'), identitytoken: 'token' },
        'e.f': { registrytoken: 'bearer' },
      },
    })
    expect(await credentials.find('a.b/x')).toEqual({ serveraddress: 'a.b', ...ann })
    expect(await credentials.find('c.d/x')).toEqual({
      serveraddress: 'c.d',
      username: 'ann',
      password: '',
      identitytoken: 'token',
    })
    expect(await credentials.find('e.f/x')).toEqual({
      serveraddress: 'e.f',
      registrytoken: 'bearer',
    })
  })

  it('an empty entry is no login, and unknown keys do no harm', async () => {
    const credentials = await configure({
      auths: { 'a.b': {} },
      HttpHeaders: { a: 'b' },
      psFormat: 1,
    })
    expect(await credentials.find('a.b/app')).toBeUndefined()
    expect(await credentials.find('constructor.proto/app')).toBeUndefined()
  })

  it('a login made while the gateway runs counts at once', async () => {
    const credentials = createCredentials({ configFile, env: {}, run: noHelper })
    expect(await credentials.find('a.b/app')).toBeUndefined()
    await configure({ auths: { 'a.b': { auth } } })
    expect(await credentials.find('a.b/app')).toMatchObject(ann)
    await configure({ auths: {} })
    expect(await credentials.find('a.b/app')).toBeUndefined()
  })

  it.each([
    ['that is not JSON', `{"auths": {"a.b": {"auth": "${SECRET}"`, /not a JSON object/],
    ['that is empty', '', /not a JSON object/],
    ['with a wrong value', { auths: { 'a.b': { auth: 7 } } }, /wrong at auths › a.b › auth/],
    ['with an auth that is not user:password', { auths: { 'a.b': { auth: 'AAAA' } } }, /base64/],
  ])('a file %s is told as such', async (_, config, detail) => {
    const credentials = await configure(config)
    const failure = await failureOf(credentials.find('a.b/app'))
    expect(failure).toMatchObject({ code: 'image_pull_failed' })
    expect(failure.message).toMatch(detail)
    expect(failure.message).not.toContain(folder)
  })

  it('a file that cannot be read is told as such', async () => {
    const credentials = createCredentials({ configFile: folder, env: {} })
    const failure = await failureOf(credentials.find('a.b/app'))
    expect(failure).toMatchObject({ code: 'image_pull_failed' })
    expect(failure.message).toContain('EISDIR')
  })
})

describe('from a credential helper', () => {
  const answerTo =
    (answers: Record<string, unknown>): RunHelper =>
    async (program, input) => {
      const answer = answers[`${program} ${input}`]
      return answer === undefined
        ? { exitCode: 1, stdout: 'credentials not found in native keychain\n' }
        : { exitCode: 0, stdout: JSON.stringify(answer) }
    }

  it('the store serves every registry, the helper of a registry goes before it', async () => {
    const credentials = await configure(
      { credsStore: 'all', credHelpers: { 'a.b': 'one' }, auths: { 'c.d': {} } },
      answerTo({
        'docker-credential-one a.b': { ServerURL: 'a.b', Username: 'ann', Secret: SECRET },
        'docker-credential-all c.d': { ServerURL: 'c.d', Username: 'bob', Secret: 'x' },
        [`docker-credential-all ${DOCKER_HUB}`]: { Username: '<token>', Secret: 'identity' },
      }),
    )
    expect(await credentials.find('a.b/app')).toEqual({ serveraddress: 'a.b', ...ann })
    expect(await credentials.find('c.d/app')).toMatchObject({ username: 'bob', password: 'x' })
    expect(await credentials.find('app')).toEqual({
      serveraddress: DOCKER_HUB,
      identitytoken: 'identity',
    })
  })

  it('nothing found means what the file has, or nothing', async () => {
    const credentials = await configure(
      { credsStore: 'all', auths: { 'a.b': { auth } } },
      answerTo({}),
    )
    expect(await credentials.find('a.b/app')).toMatchObject(ann)
    expect(await credentials.find('c.d/app')).toBeUndefined()
  })

  it('a name that is a path runs nothing', async () => {
    const credentials = await configure({ credsStore: '../../bin/sh' })
    const failure = await failureOf(credentials.find('a.b/app'))
    expect(failure.message).toContain('a name that no program can have')
  })

  it('a real program gets the server on stdin and the environment that was given', async () => {
    await configure({ credsStore: 'real' })
    const credentials = await installHelper(
      'real',
      `[ "$1" = get ] || exit 3
printf '{"ServerURL":"x","Username":"%s","Secret":"${SECRET}"}' "$(cat)"`,
    )
    expect(await credentials.find('a.b:1/app')).toMatchObject({
      username: 'a.b:1',
      password: SECRET,
    })
  })

  it.each([
    ['that fails', `echo '${SECRET}'; echo '${SECRET}' >&2; exit 4`, /exit status 4/],
    ['that prints no JSON', `cat; echo '${SECRET}'`, /no credential/],
    ['that prints without end', `yes '${SECRET}'`, /more than a credential/],
    ['that kills itself', 'kill -9 $$', /killed/],
    ['that cannot be read', 'exec 0<&-; exit 5', /exit status 5/],
  ])('a program %s is told as such', async (_, script, detail) => {
    await configure({ credsStore: 'real' })
    const credentials = await installHelper('real', script)
    const failure = await failureOf(credentials.find('a.b/app'))
    expect(failure).toMatchObject({ code: 'image_pull_failed' })
    expect(failure.message).toMatch(detail)
  })

  it('a program that is not there is told as such', async () => {
    await configure({ credHelpers: { 'a.b': 'gone' } })
    const credentials = createCredentials({ configFile, env: { PATH: folder } })
    const failure = await failureOf(credentials.find('a.b/app'))
    expect(failure.message).toMatch(/docker-credential-gone is not installed/)
    expect(await credentials.find('c.d/app')).toBeUndefined()
  })
})
