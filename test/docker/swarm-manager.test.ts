import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Problem } from '../../src/http/errors.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually } from './containers.ts'
import { docker } from './docker-client.ts'
import type { PrivateEngine } from './private-engine.ts'
import { startPrivateEngine } from './private-engine.ts'
import { inNetworkOf } from './private-swarm.ts'

let engine: PrivateEngine
let program: Program

beforeAll(async () => {
  engine = await startPrivateEngine('busybox:stable')
  await inNetworkOf(engine, 'ip', 'link', 'set', 'lo', 'up')
  program = await startProgram({
    functions: { hello: 'image: busybox:stable\ncommand: echo hello\n' },
    env: { ONESHOT_BACKEND: 'swarm', DOCKER_HOST: engine.address },
  })
}, 120_000)
afterAll(async () => {
  await program?.stop()
  await engine?.purge()
})

const swarm = (...args: readonly string[]) => docker('--host', engine.address, 'swarm', ...args)

async function ask(path: string, method = 'GET') {
  const response = await fetch(`${program.url}${path}`, { method })
  return { status: response.status, body: (await response.json()) as Partial<Problem> & object }
}

const ready = () => ask('/readyz')
const call = () => ask('/function/hello', 'POST')

test.each([
  ['/readyz', ready],
  ['a call', call],
  ['/nodes', () => ask('/nodes')],
])('an engine that is no manager is told of by %s, with what to do', async (_, asked) => {
  const { status, body } = await asked()
  expect([status, body.code]).toEqual([503, 'engine_unreachable'])
  expect(body.detail).toMatch(/no swarm manager.*docker swarm init/)
})

test('it serves as soon as it is one', async () => {
  await swarm('init', '--advertise-addr=127.0.0.1', '--autolock')
  expect((await ready()).status).toBe(200)
  expect((await call()).body).toMatchObject({ exitCode: 0, stdout: 'hello\n' })
})

test('a swarm that is locked is told of, and serves again once it is unlocked', async () => {
  const key = await swarm('unlock-key', '-q')
  await engine.down()
  await engine.up()
  const isTold = ({ body: { detail = '' } }: Awaited<ReturnType<typeof ask>>) =>
    detail.includes('docker swarm unlock')
  expect((await eventually(ready, isTold)).status).toBe(503)
  const answer = await call()
  expect([answer.status, isTold(answer)]).toEqual([503, true])

  const unlocking = execFile('docker', ['--host', engine.address, 'swarm', 'unlock'])
  unlocking.stdin?.end(`${key}\n`)
  expect(await once(unlocking, 'close')).toEqual([0, null])
  await eventually(ready, ({ status }) => status === 200)
  expect((await call()).body).toMatchObject({ exitCode: 0, stdout: 'hello\n' })
})
