import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pack } from 'tar-stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createCredentials } from '../../src/engine/credentials.ts'
import { connectEndpoint } from '../../src/engine/endpoint.ts'
import type { Images } from '../../src/engine/image.ts'
import { createImages } from '../../src/engine/image.ts'
import type { Registry } from './registry.ts'
import { startRegistry } from './registry.ts'

const { docker } = connectEndpoint({
  host: process.env['DOCKER_HOST'],
  onTrouble: () => {},
})
const never = new AbortController().signal
const platform = undefined

let registry: Registry
/** Only in the registry at the start of each test. */
let image: string
let repository: string
let digest: string
let folder: string
const opened: Images[] = []

beforeAll(async () => {
  registry = await startRegistry()
  folder = await mkdtemp(join(tmpdir(), 'oneshot-image-'))
  repository = `${registry.address}/team/${randomUUID()}`
  image = `${repository}:one`
  digest = await publish()
})
beforeEach(() => removeImages())
afterEach(async () => {
  await Promise.all(opened.splice(0).map((images) => images.close()))
})
afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  await removeImages()
  await rm(folder, { recursive: true })
})

/** An image of one file. */
async function importImage(tag: string): Promise<void> {
  const tar = pack()
  tar.entry({ name: 'hello' }, randomUUID())
  tar.finalize()
  const archive = Readable.from(tar)
  await text(await docker.importImage(archive, { repo: repository, tag }))
}

/** Makes the image and pushes it: its digest. */
async function publish(): Promise<string> {
  await importImage('one')
  const { username, password, address: serveraddress } = registry
  const authconfig = { username, password, serveraddress }
  const report = await text(await docker.getImage(image).push({ authconfig }))
  const found = /digest: (sha256:[0-9a-f]{64})/.exec(report)?.[1]
  if (found === undefined) throw new Error(`not pushed: ${report}`)
  return found
}

async function removeImages(): Promise<void> {
  const found = await docker.listImages({ filters: { reference: [repository] } })
  await Promise.all(found.map(({ Id }) => docker.getImage(Id).remove({ force: true })))
}

function isHere(): Promise<boolean> {
  return docker
    .getImage(image)
    .inspect()
    .then(
      () => true,
      () => false,
    )
}

async function imagesWith(config: object): Promise<Images> {
  const configFile = join(folder, `${randomUUID()}.json`)
  await writeFile(configFile, JSON.stringify(config))
  const env = { PATH: `${folder}${delimiter}${process.env['PATH']}` }
  const credentials = createCredentials({ configFile, env })
  const images = createImages({ docker, credentials, clock: Date.now })
  opened.push(images)
  return images
}

function loggedIn(password = registry.password): Promise<Images> {
  const auth = Buffer.from(`${registry.username}:${password}`).toString('base64')
  return imagesWith({ auths: { [`http://${registry.address}/v2/`]: { auth } } })
}

/** How the registry was asked for the image's tag while `work` was done: each pull does that, whatever the engine has kept. */
async function requestsForTag(work: () => Promise<unknown>): Promise<string[]> {
  const before = registry.requests.length
  await work()
  return registry.requests.slice(before).filter((request) => request.endsWith('/manifests/one'))
}

describe('from a registry that wants a login', () => {
  it('an image is pulled with the login of the config file, and known by its digest', async () => {
    const images = await loggedIn()
    expect(await images.findDigest(image)).toBeUndefined()
    await images.pull(image, platform, never)
    expect(await images.findDigest(image)).toBe(digest)
  })

  it('an image is pulled by its digest', async () => {
    const images = await loggedIn()
    const pinned = `${repository}@${digest}`
    await images.pull(pinned, platform, never)
    expect(await images.findDigest(pinned)).toBe(digest)
  })

  it('an image is pulled with the login that a credential helper has', async () => {
    const { address, username, password } = registry
    const helper = join(folder, 'docker-credential-oneshot-test')
    const answer = JSON.stringify({ ServerURL: address, Username: username, Secret: password })
    await writeFile(helper, `#!/bin/sh\n[ "$(cat)" = ${address} ] && echo '${answer}'\n`)
    await chmod(helper, 0o755)
    const images = await imagesWith({ credHelpers: { [address]: 'oneshot-test' } })
    await images.pull(image, platform, never)
    expect(await isHere()).toBe(true)
  })

  it.each([
    ['without a login', () => imagesWith({})],
    ['with a wrong password', () => loggedIn('wrong')],
  ])('nothing is pulled %s, and the failure says how to log in', async (_, open) => {
    const images = await open()
    await expect(images.pull(image, platform, never)).rejects.toMatchObject({
      code: 'image_not_found',
      message: expect.stringContaining(`docker login ${registry.address}`),
    })
    expect(await isHere()).toBe(false)
  })

  it('a missing tag, repository or digest is image_not_found', async () => {
    const images = await loggedIn()
    const none = [
      `${repository}:two`,
      `${repository}-none`,
      `${repository}@sha256:${'0'.repeat(64)}`,
    ]
    for (const name of none) {
      await expect(images.pull(name, platform, never)).rejects.toMatchObject({
        code: 'image_not_found',
        message: expect.stringContaining('check its name'),
      })
    }
  })
})

describe('with the policy always', () => {
  const wanted = { policy: 'always' } as const

  it('ten calls at once ask the registry as often as one does', async () => {
    const images = await loggedIn()
    const one = await requestsForTag(() => images.ensure(image, wanted, never))
    await removeImages()
    const ten = await requestsForTag(() =>
      Promise.all(Array.from({ length: 10 }, () => images.ensure(image, wanted, never))),
    )
    expect(one).not.toEqual([])
    expect(ten).toEqual(one)
  })

  it('ten calls one after another ask ten times', async () => {
    const images = await loggedIn()
    const ten = await requestsForTag(async () => {
      for (let call = 0; call < 10; call++) await images.ensure(image, wanted, never)
    })
    expect(ten).toHaveLength(10)
  })

  it('a call fails if the pull does, although the image is here', async () => {
    await (await loggedIn()).ensure(image, wanted, never)
    const images = await imagesWith({})
    await expect(images.ensure(image, wanted, never)).rejects.toMatchObject({
      code: 'image_not_found',
    })
    expect(await isHere()).toBe(true)
  })
})

describe('while a pull is under way', () => {
  it('a caller that gives up does not end it for the others', async () => {
    const images = await loggedIn()
    const { asked, release } = registry.hold()
    const impatient = new AbortController()
    const first = images.pull(image, platform, impatient.signal)
    await Promise.race([asked, first])
    const second = images.pull(image, platform, never)
    impatient.abort('cancelled')
    await expect(first).rejects.toBe('cancelled')
    release()
    await second
    expect(await isHere()).toBe(true)
  })

  it('nobody need wait for it to go on', async () => {
    const images = await loggedIn()
    const { asked, release } = registry.hold()
    const only = new AbortController()
    const gone = images.pull(image, platform, only.signal)
    await Promise.race([asked, gone])
    only.abort('timed_out')
    await expect(gone).rejects.toBe('timed_out')
    const again = await requestsForTag(async () => {
      const next = images.pull(image, platform, never)
      release()
      await next
    })
    expect(again).toEqual([])
    expect(await isHere()).toBe(true)
  })

  it('a shutdown cancels it', async () => {
    const images = await loggedIn()
    const { asked, release } = registry.hold()
    const pulling = images.pull(image, platform, never)
    await Promise.race([asked, pulling])
    const closed = images.close()
    await expect(pulling).rejects.toMatchObject({ code: 'shutting_down' })
    await closed
    release()
    expect(await isHere()).toBe(false)
  })
})

it('a registry that does not answer is image_pull_failed', async () => {
  const images = await loggedIn()
  // Port 1 of the loopback: nothing listens there.
  await expect(images.pull('127.0.0.1:1/team/app', platform, never)).rejects.toMatchObject({
    code: 'image_pull_failed',
    message: expect.stringContaining('connection refused'),
  })
})

it('an image of this engine alone is known by its id', async () => {
  const images = await loggedIn()
  const name = `${repository}:local`
  await importImage('local')
  const { Id } = await docker.getImage(name).inspect()
  expect(await images.findDigest(name)).toBe(Id)
  expect(await images.findDigest(Id)).toBe(Id)
})
