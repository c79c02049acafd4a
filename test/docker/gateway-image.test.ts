import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { docker } from './docker-client.ts'
import { buildNodeBase } from './node-base.ts'

const root = join(import.meta.dirname, '../..')
const base = 'node:26-slim'
const standIn = 'oneshot-test/node-base:local'
const dependencies = 'oneshot-test/dependencies:local'
const image = 'oneshot-test/gateway:local'
const container = `oneshot-test-gateway-${process.pid}`

let url = ''
const made: string[] = []

beforeAll(async () => {
  const from = ['--build-arg', `BASE_IMAGE=${await findBase()}`]
  // The first stage gets a name as well, so that nothing nameless is left of it. The registry is asked from the host's
  // network, which reaches it wherever this machine does.
  const build = async (tag: string, ...options: string[]): Promise<void> => {
    const network = ['--network', 'host', ...proxies()]
    await docker('build', ...network, ...from, ...options, '--tag', tag, root)
    made.unshift(tag)
  }
  await build(dependencies, '--target', 'dependencies')
  await build(image)

  const socket = enginesSocket()
  const { gid } = await stat(socket)
  const options = [
    `--name=${container}`,
    `--group-add=${gid}`,
    `--volume=${socket}:/var/run/docker.sock`,
    `--volume=${join(root, 'functions')}:/functions:ro`,
    '--publish=127.0.0.1::8080',
    '--health-interval=1s',
  ]
  await docker('run', '--detach', ...options, image)
  url = `http://${await docker('port', container, '8080/tcp')}`
  await vi.waitFor(ready, { timeout: 20_000, interval: 100 })
}, 600_000)

afterAll(async () => {
  await docker('rm', '--force', '--volumes', container)
  if (made.length > 0) await docker('rmi', '--force', ...made)
})

test('the container serves a call through the mounted socket', async () => {
  const answer = await fetch(`${url}/function/hello`, { method: 'POST', body: 'world' })
  expect(answer.status).toBe(200)
  expect(await answer.json()).toMatchObject({ exitCode: 0, stdout: 'Hello, world!\n' })
})

test('it runs without root', async () => {
  expect(await docker('exec', container, 'id', '-u')).toBe('1000')
})

test('its health check finds it healthy', async () => {
  const health = () => docker('inspect', '--format', '{{.State.Health.Status}}', container)
  await expect.poll(health, { timeout: 20_000 }).toBe('healthy')
})

test('it holds what it runs and nothing else', async () => {
  expect((await docker('exec', container, 'ls', '/app')).split('\n').sort()).toEqual([
    'node_modules',
    'package.json',
    'src',
  ])
  const typescript = docker('exec', container, 'ls', '/app/node_modules/typescript')
  await expect(typescript).rejects.toThrow('No such file')
})

test('stopped, it ends by itself and in order', async () => {
  await docker('stop', '--time', '30', container)
  expect(await docker('inspect', '--format', '{{.State.ExitCode}}', container)).toBe('0')
})

/** The base image by its own name where it is there or can be pulled, else a stand-in. */
async function findBase(): Promise<string> {
  try {
    await docker('image', 'inspect', base).catch(() => pull(base))
    return base
  } catch {
    await buildNodeBase(standIn)
    made.unshift(standIn)
    return standIn
  }
}

/** Rejects if that takes longer than two minutes: then there is no registry that deserves the name. */
async function pull(name: string): Promise<string> {
  const { stdout } = await promisify(execFile)('docker', ['pull', name], { timeout: 120_000 })
  return stdout
}

async function ready(): Promise<void> {
  const answer = await fetch(`${url}/readyz`).catch(() => undefined)
  if (answer?.ok === true) return
  const { stdout, stderr } = await promisify(execFile)('docker', ['logs', container])
  throw new Error(`the gateway is not ready; it said:\n${stdout}${stderr}`)
}

function enginesSocket(): string {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'
  if (!host.startsWith('unix://')) throw new Error(`DOCKER_HOST=${host} is no socket to mount`)
  return host.slice('unix://'.length)
}

/** Docker knows these build arguments without being told; their values are taken from the environment. */
function proxies(): string[] {
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy']
  return names.flatMap((name) => (process.env[name] ? ['--build-arg', name] : []))
}
