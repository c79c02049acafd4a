import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { GatewayImage } from './gateway-image.ts'
import { makeKey, showEntry } from '../../src/access/key.ts'
import { buildGatewayImage } from './gateway-image.ts'
import type { PrivateEngine } from './private-engine.ts'
import { inNetworkOf, startPrivateSwarm } from './private-swarm.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const SERVED = { timeout: 60_000, interval: 500 }
/** Swarm gives up one by one what it has tried to start meanwhile. */
const ROLLED_BACK = { ...SERVED, timeout: 150_000 }

const obstacle = await findObstacle()

// Each test takes the stack over as the one before has left it.
describe('stack.yml, on a swarm of one node', () => {
  beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle))

  let image: GatewayImage
  let engine: PrivateEngine
  /** What is deployed: the stack's files, and definitions to be changed. */
  let folder: string
  const key = makeKey()

  beforeAll(async () => {
    if (obstacle !== undefined) return
    folder = await mkdtemp(join(tmpdir(), 'oneshot-stack-'))
    for (const name of ['stack.yml', 'stack.secrets.yml', 'functions']) {
      await cp(join(root, name), join(folder, name), { recursive: true })
    }
    image = await buildGatewayImage()
    engine = await startPrivateSwarm(image.tag)
  }, 600_000)

  afterAll(async () => {
    await engine?.purge()
    await image?.remove()
    if (obstacle === undefined) await rm(folder, { recursive: true, force: true })
  })

  test('deployed, it answers a call through the published port', async () => {
    const entry = showEntry(key, { name: 'me', scopes: ['admin'] })
    await createSecret('oneshot-api-keys', `keys:\n${entry}`)
    await deploy({}, 'stack.yml')
    await expect.poll(() => call('hello', 'world'), SERVED).toContain('"Hello, world!\\n"')
    expect(await call('hello', 'again')).toContain('"engine":"swarm"')
  }, 120_000)

  test('its health check finds it healthy', async () => {
    const health = async () =>
      docker('inspect', '--format', '{{.State.Health.Status}}', await gateway())
    await expect.poll(health, { timeout: 60_000 }).toBe('healthy')
  }, 90_000)

  test("of root's rights it has one", async () => {
    const status = await docker('exec', await gateway(), 'cat', '/proc/1/status')
    const [, effective] = /^CapEff:\s*(\w+)$/m.exec(status) ?? []
    const dacOverride = 1n << 1n
    expect(BigInt(`0x${effective}`)).toBe(dacOverride)
  })

  test('secrets and a changed definition come with the next version; a call that runs meanwhile is run once', async () => {
    const secret = `whsec_${randomBytes(32).toString('base64')}`
    await createSecret('oneshot-callbacks', secret)
    await createSecret('oneshot-registries', '{"auths":{}}')
    const definition = join(folder, 'functions/hello.yml')
    await writeFile(definition, (await readFile(definition, 'utf8')).replace('Hello', 'Salut'))
    const { id } = JSON.parse(await request('/async-function/sleep?seconds=20')) as { id: string }
    const former = await gateway()

    await deploy({ FUNCTIONS_VERSION: '2' }, 'stack.yml', 'stack.secrets.yml')
    await expect.poll(() => call('hello', 'world'), SERVED).toContain('"Salut, world!\\n"')
    expect(await gateway()).not.toBe(former)
    expect(await docker('exec', await gateway(), 'cat', '/run/secrets/callbacks')).toBe(secret)
    const found = async () => JSON.parse(await request(`/invocations/${id}`)) as object
    await expect
      .poll(found, SERVED)
      .toMatchObject({ state: 'succeeded', attempts: [{ exitCode: 0 }] })
  }, 180_000)

  test('a version that does not start gives way to the one before', async () => {
    const stack = join(folder, 'stack.yml')
    const broken = (await readFile(stack, 'utf8')).replace('_BACKEND: swarm', '_BACKEND: sworm')
    await writeFile(join(folder, 'broken.yml'), broken)
    await deploy({ FUNCTIONS_VERSION: '2' }, 'broken.yml', 'stack.secrets.yml')
    const state = () =>
      docker('service', 'inspect', '--format', '{{.UpdateStatus.State}}', 'oneshot_gateway')
    await expect.poll(state, SERVED).toContain('rollback')
    await expect.poll(() => call('hello', 'world'), ROLLED_BACK).toContain('"Salut, world!\\n"')
  }, 240_000)

  test('removed, it leaves its data and the secrets, and nothing else', async () => {
    await docker('stack', 'rm', 'oneshot')
    const left = async () => ({
      containers: await names('container', 'ls', '--all'),
      services: await names('service', 'ls'),
      configs: await names('config', 'ls'),
      networks: await names('network', 'ls'),
      secrets: await names('secret', 'ls'),
      volumes: await names('volume', 'ls'),
    })
    await expect.poll(left, SERVED).toEqual({
      containers: [],
      services: [],
      configs: [],
      networks: ['bridge', 'docker_gwbridge', 'host', 'ingress', 'none'],
      secrets: ['oneshot-api-keys', 'oneshot-callbacks', 'oneshot-registries'],
      volumes: ['oneshot_data'],
    })
  }, 120_000)

  async function docker(...args: readonly string[]): Promise<string> {
    return dockerWith({}, ...args)
  }

  async function dockerWith(
    variables: Readonly<Record<string, string>>,
    ...args: readonly string[]
  ): Promise<string> {
    const env = { ...process.env, DOCKER_HOST: engine.address, ...variables }
    const { stdout } = await run('docker', args, { env })
    return stdout.trimEnd()
  }

  function deploy(
    variables: Readonly<Record<string, string>>,
    ...files: readonly string[]
  ): Promise<string> {
    const all = {
      GATEWAY_IMAGE: image.tag,
      DOCKER_SOCKET: engine.address.slice('unix://'.length),
      ...variables,
    }
    const paths = files.flatMap((file) => ['-c', join(folder, file)])
    return dockerWith(all, 'stack', 'deploy', ...paths, 'oneshot', '--with-registry-auth')
  }

  async function createSecret(name: string, data: string): Promise<void> {
    const file = join(folder, name)
    await writeFile(file, data)
    await docker('secret', 'create', name, file)
  }

  /** The id of its container that runs. */
  async function gateway(): Promise<string> {
    const label = 'com.docker.swarm.service.name=oneshot_gateway'
    return docker('ps', '--quiet', '--no-trunc', '--filter', `label=${label}`)
  }

  /** Of all that are there, in order. */
  async function names(...command: readonly string[]): Promise<string[]> {
    const field = command[0] === 'container' ? '{{.Names}}' : '{{.Name}}'
    const listed = await docker(...command, '--format', field)
    return listed.split('\n').filter(Boolean).sort()
  }

  function call(name: string, body: string): Promise<string> {
    return request(`/function/${name}`, `--post-data=${body}`)
  }

  /** Rejects if the answer is no success. */
  function request(path: string, ...options: readonly string[]): Promise<string> {
    const post = path.startsWith('/async') ? ['--post-data='] : options
    const header = `--header=Authorization: Bearer ${key}`
    const url = `http://127.0.0.1:8080${path}`
    return inNetworkOf(engine, 'wget', '-q', '-O', '-', header, ...post, url)
  }
})

async function findObstacle(): Promise<string | undefined> {
  if (process.getuid?.() === 0) return undefined
  const isSudoer = await run('sudo', ['-n', 'true']).then(
    () => true,
    () => false,
  )
  return isSudoer ? undefined : 'an engine of its own needs root, or sudo without a password'
}
