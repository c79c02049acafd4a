import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import Docker from 'dockerode'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually, noContainers } from './containers.ts'
import { docker } from './docker-client.ts'
import { whenArmed } from './pool.ts'
import type { Registry } from './registry.ts'
import { startRegistry } from './registry.ts'
import type { SocketProxy } from './socket-proxy.ts'
import { REFUSED, startSocketProxy } from './socket-proxy.ts'

const SECRET = 'of the operator'
const networks = [`oneshot-test-a-${process.pid}`, `oneshot-test-b-${process.pid}`] as const
const volume = `oneshot-test-proxied-${process.pid}`

const shell = (script: string, more: string) => `image: busybox:stable
command: ${JSON.stringify(['sh', '-c', script.replaceAll('$', '$$$$')])}
${more}`
const functions = (image: string) => ({
  sum: shell('sha256sum', 'network_mode: none\nwarm: { max: 0 }\n'),
  armed: shell('cat', 'network_mode: none\nwarm: { min: 1 }\n'),
  rich: shell(
    'cat /run/secrets/token /settings; echo kept >/kept/it; ls /sys/class/net',
    `networks: [${networks.join(', ')}]
volumes: ['${volume}:/kept']
secrets: [token]
configs: [settings]
warm: { max: 0 }
`,
  ),
  stubborn: shell(
    "trap '' TERM; echo on; while :; do sleep 1; done",
    'network_mode: none\nwarm: { max: 0 }\nstop_grace_period: 500ms\n',
  ),
  long: shell('cat; sleep 4; echo done', 'network_mode: none\n'),
  pulled: `image: ${image}\nnetwork_mode: none\ncommand: echo pulled\n`,
  faulty: shell('true', 'network_mode: none\nwarm: { max: 0 }\nuser: nosuch\n'),
})

let proxy: SocketProxy
let registry: Registry
let folder: string
let image: string
let program: Program

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-proxied-'))
  await mkdir(join(folder, 'docker'))
  await writeFile(join(folder, 'token'), SECRET)
  await writeFile(join(folder, 'settings'), 'some settings\n')
  registry = await startRegistry()
  image = `${registry.address}/tools:1`
  await publish()
  for (const network of networks) await docker('network', 'create', network)
  proxy = await startSocketProxy('container')
  program = await start()
})
afterAll(async () => {
  await program?.stop()
  await proxy?.[Symbol.asyncDispose]()
  await registry?.[Symbol.asyncDispose]()
  await docker('image', 'rm', '--force', image)
  await docker('network', 'rm', ...networks)
  await docker('volume', 'rm', '--force', volume)
  await rm(folder, { recursive: true })
})

function start(): Promise<Program> {
  return startProgram({
    functions: functions(image),
    env: {
      DOCKER_HOST: proxy.address,
      DOCKER_CONFIG: join(folder, 'docker'),
      ONESHOT_DATA: join(folder, 'data'),
      ONESHOT_SECRETS: folder,
      ONESHOT_CONFIGS: folder,
      ONESHOT_SWEEP_INTERVAL: '1s',
    },
  })
}

/** Makes an image that only the registry has, which wants a login. */
async function publish(): Promise<void> {
  const { username, password, address: serveraddress } = registry
  const auth = Buffer.from(`${username}:${password}`).toString('base64')
  const config = JSON.stringify({ auths: { [serveraddress]: { auth } } })
  await writeFile(join(folder, 'docker/config.json'), config)
  await docker('tag', 'busybox:stable', image)
  const pushed = await new Docker().getImage(image).push({
    authconfig: { username, password, serveraddress },
  })
  expect(await text(pushed)).toContain('digest: sha256:')
  await docker('image', 'rm', image)
}

async function call(name: string, body = ''): Promise<Envelope> {
  const response = await fetch(`${program.url}/function/${name}`, { method: 'POST', body })
  return (await response.json()) as Envelope
}

async function callAsync(name: string, body = ''): Promise<string> {
  const response = await fetch(`${program.url}/async-function/${name}`, { method: 'POST', body })
  expect(response.status).toBe(202)
  return ((await response.json()) as { id: string }).id
}

async function find(id: string): Promise<{ readonly state: string }> {
  const response = await fetch(`${program.url}/invocations/${id}`)
  return (await response.json()) as { state: string }
}

/** The state in which it ended. */
async function ended(id: string): Promise<string> {
  const { state } = await eventually(
    () => find(id),
    (found) => !['queued', 'running'].includes(found.state),
  )
  return state
}

const logs = async (id: string) => (await fetch(`${program.url}/invocations/${id}/logs`)).text()

test('the engine is found ready', async () => {
  expect((await fetch(`${program.url}/readyz`)).status).toBe(200)
})

test('a call comes through with an input of 20 MB', async () => {
  const body = 'x'.repeat(20_000_000)
  const bytes = new TextEncoder().encode(body)
  const sum = Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex')
  expect(await call('sum', body)).toMatchObject({ exitCode: 0, stdout: `${sum}  -\n` })
})

test('an armed container takes a call, and is looked after', async () => {
  await whenArmed(program, 'armed')
  const { id, stdout } = await call('armed', 'there')
  expect(stdout).toBe('there')
  expect(await find(id)).toMatchObject({ start: 'armed' })
  const lookup = 'GET /images/busybox%3Astable/json'
  await eventually(
    () => Promise.resolve(proxy.asked),
    (asked) => asked.includes(lookup),
  )
})

test('networks, volumes, secrets and configs come with a call', async () => {
  const { exitCode, stdout } = await call('rich')
  expect([exitCode, stdout]).toEqual([0, `${SECRET}some settings\neth0\neth1\nlo\n`])
})

test('an image is pulled from a registry that wants a login', async () => {
  expect(await call('pulled')).toMatchObject({ exitCode: 0, stdout: 'pulled\n' })
})

test('a command that ignores its stop signal is killed when its call is cancelled', async () => {
  const id = await callAsync('stubborn')
  await eventually(
    () => logs(id),
    (said) => said === 'on\n',
  )
  await fetch(`${program.url}/invocations/${id}/cancel`, { method: 'POST' })
  expect(await ended(id)).toBe('cancelled')
})

test('what the engine fails to start is told as such, in its own words', async () => {
  const { reason, error } = await call('faulty')
  expect(reason).toBe('not_started')
  expect(error?.detail).toContain('nosuch')
})

test('a call that a killed gateway has left running is taken up, and what it had armed is swept away', async () => {
  await whenArmed(program, 'armed')
  const id = await callAsync('long', 'begun\n')
  await eventually(
    () => logs(id),
    (said) => said === 'begun\n',
  )
  await program.stop('SIGKILL')
  program = await start()
  expect(await ended(id)).toBe('succeeded')
  expect(await logs(id)).toBe('begun\ndone\n')
  expect(proxy.asked.filter((it) => it.includes('/logs?')).length).toBeGreaterThan(0)
  await program.stop()
  await noContainers()
})

test('nothing of all this is refused', () => {
  expect(proxy.refused).toEqual([])
})

test('each entry of the allow-list is needed', () => {
  expect(proxy.unused()).toEqual([])
})

test.each(REFUSED)('%s is refused', async (request) => {
  const [method = '', path = ''] = request.split(' ')
  expect(await proxy.ask(method, path)).toBe(403)
})
