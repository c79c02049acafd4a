import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Docker from 'dockerode'
import { expect, onTestFinished, test } from 'vitest'
import { createManagers } from '../../../src/engine/swarm/managers.ts'

type Answer = readonly [status: number, body: object]

const NO_LEADER =
  "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online."
const WORKER =
  "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state."
const LOCKED = 'Swarm is encrypted and needs to be unlocked before it can be used.'

const refusal = (status: number, message: string): Answer => [status, { message }]
const fine = (from: string): Answer => [200, { from }]

/** One that gives its answers in turn, the last of them again and again. */
async function startManager(...answers: readonly Answer[]) {
  let asked = 0
  const server = createServer((_request, response) => {
    const [status, body] = answers[Math.min(asked, answers.length - 1)] ?? [500, {}]
    asked += 1
    response.writeHead(status, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  onTestFinished(close)
  const docker = new Docker({ host: '127.0.0.1', port, protocol: 'http' })
  return { docker, close, asked: () => asked }
}

const question = { method: 'GET', path: '/tasks' } as const

test('a manager that is gone is passed over, and the one that answers is asked from then on', async () => {
  const [gone, other] = await Promise.all([startManager(fine('gone')), startManager(fine('other'))])
  gone.close()
  const managers = createManagers([gone.docker, other.docker])
  expect(await managers.ask(question)).toEqual({ from: 'other' })
  expect(managers.current()).toBe(other.docker)
  await managers.ask(question)
  expect(other.asked()).toBe(2)
})

test.each([
  ['a worker', 503, WORKER],
  ['locked', 503, LOCKED],
  ['without a leader', 500, NO_LEADER],
])('a manager that is %s is passed over', async (_, status, message) => {
  const [first, second] = await Promise.all([
    startManager(refusal(status, message)),
    startManager(fine('second')),
  ])
  const managers = createManagers([first.docker, second.docker])
  expect(await managers.ask(question)).toEqual({ from: 'second' })
})

test("the leader's loss is ridden out", async () => {
  const answers = [refusal(500, NO_LEADER), refusal(500, NO_LEADER), fine('it')]
  const { docker, asked } = await startManager(...answers)
  expect(await createManagers([docker]).ask(question)).toEqual({ from: 'it' })
  expect(asked()).toBe(3)
})

test("a leader's loss that lasts is told as what it is", async () => {
  const { docker } = await startManager(refusal(500, NO_LEADER))
  const asking = createManagers([docker]).ask({ ...question, rideOutMs: 250 })
  await expect(asking).rejects.toMatchObject({
    code: 'engine_unreachable',
    message: expect.stringContaining('no leader') as string,
  })
})

test.each([
  ['no manager', WORKER, /no swarm manager.*DOCKER_HOST/],
  [
    'not in a swarm',
    'This node is not a swarm manager. Use "docker swarm init"',
    /no swarm manager/,
  ],
  ['locked', LOCKED, /locked.*docker swarm unlock/],
])('engines that all are %s are told of at once', async (_, message, told) => {
  const engines = await Promise.all([
    startManager(refusal(503, message)),
    startManager(refusal(503, message)),
  ])
  const asking = createManagers(engines.map(({ docker }) => docker)).ask(question)
  await expect(asking).rejects.toMatchObject({
    code: 'engine_unreachable',
    message: expect.stringMatching(told) as string,
  })
  expect(engines.map(({ asked }) => asked())).toEqual([1, 1])
})

test('a manager that is being prepared is waited for', async () => {
  const message =
    'This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.'
  const { docker } = await startManager(refusal(503, message), fine('it'))
  expect(await createManagers([docker]).ask(question)).toEqual({ from: 'it' })
})

test.each([404, 409, 500])("a refusal of the request's own, %d, is handed on", async (status) => {
  const engines = await Promise.all([
    startManager(refusal(status, 'no such thing')),
    startManager(fine('other')),
  ])
  const asking = createManagers(engines.map(({ docker }) => docker)).ask(question)
  await expect(asking).rejects.toMatchObject({ statusCode: status })
  expect(engines.map(({ asked }) => asked())).toEqual([1, 0])
})

test('many that find a manager gone at once all come to the next', async () => {
  const [first, second] = await Promise.all([
    startManager(refusal(503, 'gone')),
    startManager(fine('second')),
  ])
  const managers = createManagers([first.docker, second.docker])
  const asking = Array.from({ length: 10 }, () => managers.ask({ ...question, rideOutMs: 0 }))
  expect(await Promise.all(asking)).toEqual(asking.map(() => ({ from: 'second' })))
  expect(managers.current()).toBe(second.docker)
})

test('nothing is asked for again once it is over', async () => {
  const { docker, asked } = await startManager(refusal(500, NO_LEADER))
  const over = new AbortController()
  const asking = createManagers([docker]).ask({ ...question, over: over.signal })
  setTimeout(() => over.abort(), 50)
  await expect(asking).rejects.toThrow('aborted')
  expect(asked()).toBe(1)
})

test('a stream that a manager does not begin is opened at the next', async () => {
  const hanging = createServer(() => {})
  hanging.listen(0, '127.0.0.1')
  await once(hanging, 'listening')
  onTestFinished(() => {
    hanging.closeAllConnections()
    hanging.close()
  })
  const { port } = hanging.address() as AddressInfo
  const docker = new Docker({ host: '127.0.0.1', port, protocol: 'http' })
  const other = await startManager(fine('other'))
  const managers = createManagers([docker, other.docker])
  const stream = await managers.openStream('/logs', new AbortController().signal, 100)
  expect((await stream.toArray()).join('')).toBe('{"from":"other"}')
})

test('without patience each manager is asked once', async () => {
  const engines = await Promise.all([
    startManager(refusal(500, NO_LEADER)),
    startManager(refusal(503, WORKER)),
  ])
  const managers = createManagers(engines.map(({ docker }) => docker))
  await expect(managers.ask({ ...question, rideOutMs: 0 })).rejects.toThrow('no leader')
  expect(engines.map(({ asked }) => asked())).toEqual([1, 1])
})

test('a stream is opened at the manager that has it', async () => {
  const [first, second] = await Promise.all([
    startManager(refusal(503, WORKER)),
    startManager(fine('second')),
  ])
  const managers = createManagers([first.docker, second.docker])
  const stream = await managers.openStream('/events', new AbortController().signal)
  const chunks = await stream.toArray()
  expect(chunks.join('')).toBe('{"from":"second"}')
})
