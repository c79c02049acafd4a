import { stat } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { docker } from './docker-client.ts'
import type { GatewayImage } from './gateway-image.ts'
import { buildGatewayImage } from './gateway-image.ts'

const root = join(import.meta.dirname, '../..')
const container = `oneshot-test-gateway-${process.pid}`

let url = ''
let image: GatewayImage | undefined

beforeAll(async () => {
  image = await buildGatewayImage()
  const socket = enginesSocket()
  const { gid } = await stat(socket)
  const options = [
    `--name=${container}`,
    `--group-add=${gid}`,
    `--volume=${socket}:/var/run/docker.sock`,
    `--volume=${join(root, 'functions')}:/functions:ro`,
    '--publish=127.0.0.1::8080',
    '--health-interval=1s',
    '--env=ONESHOT_INSECURE=true',
  ]
  await docker('run', '--detach', ...options, image.tag)
  url = `http://${await docker('port', container, '8080/tcp')}`
  await vi.waitFor(ready, { timeout: 20_000, interval: 100 })
}, 600_000)

afterAll(async () => {
  await docker('rm', '--force', '--volumes', container)
  await image?.remove()
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
