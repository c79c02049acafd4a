import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Problem } from '../../src/http/errors.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually } from './containers.ts'
import type { HeldCalls } from './swarm-lab-calls.ts'
import { createHeldCalls, getStatus, whenCleared } from './swarm-lab-calls.ts'
import type { SwarmLab } from './swarm-lab.ts'
import { findObstacle, startSwarmLab } from './swarm-lab.ts'

let obstacle: string | undefined
let lab: SwarmLab
let calls: HeldCalls
let program: Program
beforeAll(async () => {
  obstacle = await findObstacle()
  if (obstacle !== undefined) return
  lab = await startSwarmLab()
  calls = await createHeldCalls(lab)
  program = await startProgram({
    functions: { again: calls.define('retries: { max: 5, minDelay: 100ms, maxDelay: 1s }') },
    env: { ONESHOT_BACKEND: 'swarm', DOCKER_HOST: lab.address, ONESHOT_LEASE: '3s' },
  })
})
afterAll(async () => {
  await program?.stop()
  await lab?.[Symbol.asyncDispose]()
  await calls?.[Symbol.asyncDispose]()
})
beforeEach(({ skip }) => {
  if (obstacle !== undefined) skip(obstacle)
})

test('with the leading manager killed under 20 running calls all of them come to their right ends', async () => {
  const words = Array.from({ length: 20 }, (_, index) => `of20-${index}`)
  const envelopes = words.map(async (word) => {
    const answer = await fetch(`${program.url}/function/again?word=${word}`, { method: 'POST' })
    return (await answer.json()) as Envelope
  })
  await Promise.all(words.map((word) => calls.whenRunning(word)))
  const leader = await lab.leader()
  await leader.kill()
  await Promise.all(words.map(calls.end))
  for (const [index, word] of words.entries()) {
    const { id, exitCode, stdout, node } = (await envelopes[index]) as Envelope
    const { attempts } = await getStatus(program, id)
    const runs = await calls.findRuns(word)
    const stayed = runs[0] !== leader.name
    expect({ word, exitCode, stdout, node, runs: runs.length }).toEqual({
      word,
      exitCode: 3,
      stdout: `begun\n${word}\n`,
      node: runs.at(-1),
      runs: attempts.length,
    })
    const reasons = attempts.map(({ reason }) => reason).join()
    expect(reasons).toMatch(stayed ? /^exited$/ : /^lost,(lost,)*exited$/)
  }
  await leader.start()
  await lab.whenReady(leader)
  await whenCleared(lab)
}, 180_000)

test('a swarm without a quorum is told of, and calls are run as soon as it has one again', async () => {
  const ready = async () => {
    const response = await fetch(`${program.url}/readyz`)
    return { httpStatus: response.status, ...((await response.json()) as Partial<Problem>) }
  }
  const leader = await lab.leader()
  const lost = lab.machines.filter((machine) => machine !== leader)
  await Promise.all(lost.map((machine) => machine.kill()))
  const isTold = ({ detail = '' }: Partial<Problem>) => /no leader.*more than half/.test(detail)
  const { httpStatus, code } = await eventually(ready, isTold, 60_000)
  expect([httpStatus, code]).toEqual([503, 'engine_unreachable'])

  const accepted = await fetch(`${program.url}/async-function/again?word=quorum`, {
    method: 'POST',
  })
  const { id } = (await accepted.json()) as { id: string }
  await Promise.all(lost.map((machine) => machine.start()))
  await eventually(ready, (answer) => answer.httpStatus === 200, 60_000)
  await calls.whenRunning('quorum')
  await calls.end('quorum')
  const result = await eventually(
    () => getStatus(program, id),
    ({ state }) => state === 'failed',
    60_000,
  )
  expect(result).toMatchObject({ exitCode: 3 })
  await whenCleared(lab)
}, 240_000)
