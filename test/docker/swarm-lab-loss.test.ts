import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import type { HeldCalls } from './swarm-lab-calls.ts'
import { createHeldCalls, getResult, getStatus, whenCleared } from './swarm-lab-calls.ts'
import type { Machine, SwarmLab } from './swarm-lab.ts'
import { findObstacle, startSwarmLab } from './swarm-lab.ts'

let obstacle: string | undefined
let lab: SwarmLab
let calls: HeldCalls
/** Gives a node up soon after it has gone. */
let hasty: Program
/** Waits for it. */
let patient: Program
beforeAll(async () => {
  obstacle = await findObstacle()
  if (obstacle !== undefined) return
  // With one manager no loss is one of the leader.
  lab = await startSwarmLab({ managers: 1 })
  calls = await createHeldCalls(lab)
  const onWorker = 'deploy: { placement: { constraints: [node.role == worker] } }'
  const functions = {
    once: calls.define(`${onWorker}\nretries: 0`),
    again: calls.define(`${onWorker}\nretries: { max: 5, minDelay: 100ms, maxDelay: 1s }`),
  }
  const start = (lease: string) =>
    startProgram({
      functions,
      env: { ONESHOT_BACKEND: 'swarm', DOCKER_HOST: lab.address, ONESHOT_LEASE: lease },
    })
  hasty = await start('3s')
  patient = await start('120s')
})
afterAll(async () => {
  await Promise.all([hasty?.stop(), patient?.stop()])
  await lab?.[Symbol.asyncDispose]()
  await calls?.[Symbol.asyncDispose]()
})
beforeEach(({ skip }) => {
  if (obstacle !== undefined) skip(obstacle)
})

async function restore(machine: Machine): Promise<void> {
  await machine.start()
  await lab.whenReady(machine)
}

test('a call whose engine is killed in its midst is lost, and what its container does afterwards makes no second result', async () => {
  const { id, machine } = await calls.begin(hasty, 'once', 'killed')
  await machine.kill()
  const envelope = await getResult(hasty, id)
  expect(envelope).toMatchObject({
    state: 'lost',
    reason: 'lost',
    exitCode: null,
    node: machine.name,
    stdout: 'begun\n',
  })
  await calls.end('killed')
  await restore(machine)
  await whenCleared(lab)
  expect(await getResult(hasty, id)).toEqual(envelope)
  expect((await getStatus(hasty, id)).attempts).toHaveLength(1)
  expect(await calls.findRuns('killed')).toHaveLength(1)
}, 120_000)

test.each([
  ['kill', 'start'],
  ['unplug', 'plug'],
] as const)(
  'a call that may be retried runs again on another node when its own is lost (%s), and only that result counts',
  async (part, mend) => {
    const word = `moved-${part}`
    const { id, machine } = await calls.begin(hasty, 'again', word)
    await machine[part]()
    const next = await calls.whenRunning(word, 2)
    expect(next.name).not.toBe(machine.name)
    // Both end now: the one that is not counted any more too.
    await calls.end(word)
    const envelope = await getResult(hasty, id)
    expect(envelope).toMatchObject({ exitCode: 3, stdout: `begun\n${word}\n`, node: next.name })
    await machine[mend]()
    await lab.whenReady(machine)
    await whenCleared(lab)
    expect(await getResult(hasty, id)).toEqual(envelope)
    const { attempts } = await getStatus(hasty, id)
    expect(attempts.map(({ reason, node }) => [reason, node])).toEqual([
      ['lost', machine.name],
      ['exited', next.name],
    ])
  },
  120_000,
)

test('the exit of a command that ended while its node was gone counts if the node is back within the lease', async () => {
  const { id, machine } = await calls.begin(patient, 'once', 'late')
  await machine.kill()
  await calls.end('late')
  await lab.whenDown(machine)
  await restore(machine)
  const envelope = await getResult(patient, id)
  expect(envelope).toMatchObject({ state: 'failed', exitCode: 3, node: machine.name })
  // What it printed while nobody listened is lost with the engine that should have.
  expect(envelope.stdout).toMatch(/^begun\n/)
  expect(await calls.findRuns('late')).toHaveLength(1)
}, 120_000)

test('what runs on a node that is drained is lost', async () => {
  const { id, machine } = await calls.begin(patient, 'once', 'drained')
  await lab.drain(machine)
  const envelope = await getResult(patient, id)
  expect(envelope).toMatchObject({ state: 'lost', exitCode: null, node: machine.name })
  expect(envelope.stdout).toBe('begun\n')
  await lab.activate(machine)
  expect(await calls.findRuns('drained')).toHaveLength(1)
}, 120_000)

test.each(['at once', 'after it counted as down'])(
  'what a power cut ended is lost when the node is back (%s), with no exit code that its engine made up',
  async (when) => {
    const word = `cut-${when.length}`
    const { id, machine } = await calls.begin(patient, 'once', word)
    await machine.cut()
    if (when !== 'at once') await lab.whenDown(machine)
    await restore(machine)
    const envelope = await getResult(patient, id)
    expect(envelope).toMatchObject({ state: 'lost', exitCode: null, node: machine.name })
    expect(envelope.stdout).toBe('begun\n')
    await whenCleared(lab)
  },
  120_000,
)

test.each(['stop', 'kill'] as const)(
  'what an engine took with it that was started anew (%s) is lost',
  async (how) => {
    const word = `anew-${how}`
    const { id, machine } = await calls.begin(patient, 'once', word)
    await machine[how]()
    await restore(machine)
    const envelope = await getResult(patient, id)
    expect(envelope).toMatchObject({ state: 'lost', exitCode: null, node: machine.name })
    await whenCleared(lab)
  },
  120_000,
)
