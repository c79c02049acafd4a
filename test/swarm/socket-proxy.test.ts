import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nothingLeft, shell, startGateway } from '../contract/gateway.ts'
import type { Gateway } from '../contract/gateway.ts'
import { eventually } from '../docker/containers.ts'
import { docker } from '../docker/docker-client.ts'
import type { SocketProxy } from '../docker/socket-proxy.ts'
import { REFUSED, startSocketProxy } from '../docker/socket-proxy.ts'

const secret = `oneshot-test-secret-${process.pid}`
const config = `oneshot-test-config-${process.pid}`
const network = `oneshot-test-net-${process.pid}`
const spool = `oneshot-test-spooled-${process.pid}`

const functions = {
  sum: shell('sha256sum'),
  rich: `image: busybox:stable
command: cat /run/secrets/${secret} /${config}
networks: [${network}]
secrets: [${secret}]
configs: [${config}]
`,
  long: shell('cat; sleep 6; echo done'),
  killed: shell('exit 137'),
  elsewhere: 'image: 127.0.0.1:1/nosuch:1\nnetwork_mode: none\ncommand: cat\n',
}

interface Found {
  readonly state: string
}

let proxy: SocketProxy
let gateway: Gateway
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-proxied-'))
  await chmod(folder, 0o755)
  for (const name of ['secret', 'config']) await writeFile(join(folder, name), `${name}\n`)
  await docker('secret', 'create', secret, join(folder, 'secret'))
  await docker('config', 'create', config, join(folder, 'config'))
  await docker('network', 'create', '--driver=overlay', network)
  const bind = ['--opt=type=none', '--opt=o=bind', `--opt=device=${folder}`]
  await docker('volume', 'create', ...bind, spool)
  proxy = await startSocketProxy('swarm')
  gateway = await start()
})
afterAll(async () => {
  await gateway?.stop()
  await proxy?.[Symbol.asyncDispose]()
  const removals = [
    ['secret', 'rm', secret],
    ['config', 'rm', config],
    ['network', 'rm', network],
    ['volume', 'rm', spool],
  ]
  for (const removal of removals) {
    const remove = () => docker(...removal).then(() => true)
    await eventually(() => remove().catch(() => false), Boolean)
  }
  await rm(folder, { recursive: true })
})

function start(): Promise<Gateway> {
  return startGateway({
    functions,
    env: {
      DOCKER_HOST: proxy.address,
      ONESHOT_DATA: join(folder, 'data'),
      ONESHOT_SPOOL_VOLUME: spool,
      ONESHOT_SPOOL_PATH: folder,
      ONESHOT_SWEEP_INTERVAL: '1s',
    },
  })
}

async function callAsync(name: string, body: string): Promise<string> {
  const response = await fetch(`${gateway.url}/async-function/${name}`, { method: 'POST', body })
  return ((await response.json()) as { id: string }).id
}

/** The state in which it ended. */
async function ended(id: string): Promise<string> {
  const { state } = await eventually(
    async () => (await (await fetch(`${gateway.url}/invocations/${id}`)).json()) as Found,
    (found) => !['queued', 'running'].includes(found.state),
  )
  return state
}

async function prints(id: string, expected: string): Promise<void> {
  const read = async () => (await fetch(`${gateway.url}/invocations/${id}/logs`)).text()
  await eventually(read, (said) => said === expected)
}

test('the swarm is found ready, and its nodes are listed', async () => {
  expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200)
  const { nodes } = (await (await fetch(`${gateway.url}/nodes`)).json()) as { nodes: object[] }
  expect(nodes).toMatchObject([{ role: 'manager', leader: true }])
})

test.each([
  ['short, in a config', 1_000],
  ['long, in the spool volume', 2_000_000],
])('a call comes through with an input: %s', async (_, length) => {
  const body = new Uint8Array(length).fill(7)
  const sum = Buffer.from(await crypto.subtle.digest('SHA-256', body)).toString('hex')
  const answer = await gateway.envelope('sum', { body })
  expect(answer).toMatchObject({ exitCode: 0, stdout: `${sum}  -\n` })
})

test('networks, secrets and configs come with a call', async () => {
  const answer = await gateway.envelope('rich')
  expect(answer).toMatchObject({ exitCode: 0, stdout: 'secret\nconfig\n' })
})

test('a killed command is told from one that had too little memory', async () => {
  expect(await gateway.envelope('killed')).toMatchObject({ reason: 'exited', exitCode: 137 })
})

test('an image that no manager has is asked for at its registry', async () => {
  const { reason } = await gateway.envelope('elsewhere', { body: 'some' })
  expect(reason).toBe('not_started')
})

test('a call that runs is cancelled', async () => {
  const id = await callAsync('long', 'begun\n')
  await prints(id, 'begun\n')
  await fetch(`${gateway.url}/invocations/${id}/cancel`, { method: 'POST' })
  expect(await ended(id)).toBe('cancelled')
})

test('a call that a killed gateway has left running is taken up', async () => {
  const id = await callAsync('long', 'begun\n')
  await prints(id, 'begun\n')
  await gateway.program.stop('SIGKILL')
  gateway = await start()
  expect(await ended(id)).toBe('succeeded')
  await prints(id, 'begun\ndone\n')
  await gateway.stop()
  await nothingLeft()
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
