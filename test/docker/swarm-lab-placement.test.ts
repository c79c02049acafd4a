import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { startServer } from './registry.ts'
import type { SwarmLab } from './swarm-lab.ts'
import { findObstacle, startSwarmLab } from './swarm-lab.ts'

const functions = (image: string) => ({
  where: `image: busybox:stable
environment:
  HOST: '{{.Node.Hostname}}'
command: [sh, -c, 'sleep 3; echo "$$HOST"']
`,
  pinned: `image: busybox:stable
environment:
  HOST: '{{.Node.Hostname}}'
deploy:
  placement:
    constraints: [node.labels.lab == 3]
command: [sh, -c, 'echo "$$HOST"']
`,
  // Names that have just been given are not known everywhere at once.
  reach: `image: busybox:stable
networks: [left, right]
command:
  - sh
  - -c
  - |
    for host in on-left on-right; do
      for _ in 1 2 3 4 5 6 7 8 9 10; do
        timeout 2 wget -q -O - "http://$$host" && break
        sleep 0.5
      done
    done
`,
  confidant: `image: busybox:stable
secrets: [word]
user: nobody
command: cat /run/secrets/word
`,
  pulled: `image: ${image}
pull_policy: missing
environment:
  HOST: '{{.Node.Hostname}}'
deploy:
  placement:
    constraints: [node.role == worker]
`,
})

let obstacle: string | undefined
let lab: SwarmLab
let folder: string
let registry: Awaited<ReturnType<typeof startServer>>
let image: string
let program: Program
beforeAll(async () => {
  obstacle = await findObstacle()
  if (obstacle !== undefined) return
  lab = await startSwarmLab({ managers: 1 })
  folder = await mkdtemp(join(tmpdir(), 'oneshot-login-'))
  registry = await startServer({ host: lab.switchAddress, at: lab.atSwitch })
  const address = `${lab.switchAddress}:${registry.port}`
  image = `${address}/team/tool:1`
  const auth = Buffer.from(`${registry.username}:${registry.password}`).toString('base64')
  await writeFile(join(folder, 'config.json'), JSON.stringify({ auths: { [address]: { auth } } }))
  program = await startProgram({
    functions: functions(image),
    env: { ONESHOT_BACKEND: 'swarm', DOCKER_HOST: lab.address, DOCKER_CONFIG: folder },
  })
})
afterAll(async () => {
  await program?.stop()
  await registry?.stop()
  await lab?.[Symbol.asyncDispose]()
  if (folder) await rm(folder, { recursive: true })
})
beforeEach(({ skip }) => {
  if (obstacle !== undefined) skip(obstacle)
})

async function call(name: string): Promise<Envelope> {
  const answer = await fetch(`${program.url}/function/${name}`, { method: 'POST' })
  return (await answer.json()) as Envelope
}

test('calls at the same time are spread over all nodes, and each says which one ran it', async () => {
  const envelopes = await Promise.all(Array.from({ length: 9 }, () => call('where')))
  for (const envelope of envelopes) {
    expect(envelope).toMatchObject({ state: 'succeeded', stdout: `${envelope.node}\n` })
  }
  const nodes = new Set(envelopes.map(({ node }) => node))
  expect([...nodes].sort()).toEqual(lab.machines.map(({ name }) => name))
})

test('a placement constraint pins a function to a node', async () => {
  const envelopes = await Promise.all(Array.from({ length: 4 }, () => call('pinned')))
  for (const envelope of envelopes) {
    expect(envelope).toMatchObject({ state: 'succeeded', node: 'node3', stdout: 'node3\n' })
  }
})

test('a task reaches services of two overlay networks that do not reach each other', async () => {
  const manager = lab.machines[0]!
  for (const [side, place] of [
    ['left', '2'],
    ['right', '3'],
  ] as const) {
    await manager.docker('network', 'create', '-d', 'overlay', side)
    const name = ['--name', `on-${side}`, '--network', side, '--endpoint-mode', 'dnsrr']
    const where = ['--constraint', `node.labels.lab == ${place}`]
    const listen = `echo ${side} >/tmp/index.html; exec httpd -f -h /tmp`
    const what = ['busybox:stable', 'sh', '-c', listen]
    await manager.docker('service', 'create', '-q', ...name, ...where, ...what)
  }
  const envelope = await call('reach')
  expect(envelope).toMatchObject({ exitCode: 0, stdout: 'left\nright\n' })
})

test("a secret of the swarm's is read by the function's user on any node", async () => {
  const secret = join(folder, 'word')
  await writeFile(secret, 'mellon')
  await lab.machines[0]?.docker('secret', 'create', 'word', secret)
  const envelopes = await Promise.all(Array.from({ length: 3 }, () => call('confidant')))
  for (const envelope of envelopes) {
    expect(envelope).toMatchObject({ exitCode: 0, stdout: 'mellon' })
  }
})

test("a worker pulls an image that only a registry with a login has, with the gateway's credentials", async () => {
  const manager = lab.machines[0]!
  const container = await manager.docker('create', 'busybox:stable')
  const command = `CMD ["sh", "-c", "echo pulled by $HOST"]`
  await manager.docker('commit', '-c', command, container, image)
  await manager.docker('rm', container)
  await manager.docker('--config', folder, 'push', '-q', image)
  await manager.docker('rmi', image)

  const envelope = await call('pulled')
  expect(envelope).toMatchObject({ exitCode: 0, stdout: `pulled by ${envelope.node}\n` })
  expect(['node2', 'node3']).toContain(envelope.node)
})
