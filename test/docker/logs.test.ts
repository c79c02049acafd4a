import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { whenArmed } from './pool.ts'

const LENGTH = 1_000_000
/** Of each kind of start: a hundred in all. */
const TIMES = Number(process.env['LOGS_TIMES'] ?? 34)
const LINE = '0123456789'.repeat(LENGTH / 10)

/** Prints a million bytes without a newline, in pieces as a pipe gives them, and ends at once. */
const define = (warm: number) => `image: busybox:stable
network_mode: none
warm: ${warm}
command: [sh, -c, "yes 0123456789 | tr -d '\\\\n' | head -c ${LENGTH}"]
`
const defineRetried = (folder: string) => `image: busybox:stable
network_mode: none
warm: 0
volumes: ['${folder}:/kept']
retries: { max: 1, minDelay: 300ms, onExit: [3] }
command: [sh, -c, "echo began; [ -e /kept/$$ONESHOT_INVOCATION_ID ] && exit 0; touch /kept/$$ONESHOT_INVOCATION_ID; exit 3"]
`

const accept = async (program: Program, name: string): Promise<string> => {
  const answer = await fetch(`${program.url}/async-function/${name}`, { method: 'POST' })
  expect(answer.status).toBe(202)
  return ((await answer.json()) as { id: string }).id
}

const read = async (url: string) => (await fetch(url)).text()

/** Some of what comes is looked at while it comes, and all of it once the call has ended. */
async function expectWhole(program: Program, name: string, start: string): Promise<void> {
  const id = await accept(program, name)
  const url = `${program.url}/invocations/${id}`
  const followed = await read(`${url}/logs?follow=1`)
  expect(followed === LINE, `followed: ${followed.length} bytes`).toBe(true)
  const whole = await read(`${url}/logs`)
  expect(whole === LINE, `read: ${whole.length} bytes`).toBe(true)
  const ended = (await (await fetch(`${url}?wait=30`)).json()) as object
  expect(ended).toMatchObject({ state: 'succeeded', exitCode: 0, start })
}

/** How many came to their end. */
async function repeat(times: number, act: () => Promise<void>): Promise<number> {
  let left = times
  let done = 0
  const one = async () => {
    while (left > 0) {
      left -= 1
      await act()
      done += 1
    }
  }
  await Promise.all([one(), one(), one()])
  return done
}

let program: Program
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-logs-'))
  const functions = { gated: define(1), bare: define(0), retried: defineRetried(folder) }
  program = await startProgram({ functions, env: { ONESHOT_WARM_MEMORY: '0' } })
})
afterAll(async () => {
  await program?.stop()
  await rm(folder, { recursive: true, force: true })
})

describe('1 MB without a newline, of a command that ends at once, is logged whole each time', () => {
  test('behind the gate of a cold container', async () => {
    expect(await repeat(TIMES, () => expectWhole(program, 'gated', 'cold'))).toBe(TIMES)
  }, 180_000)

  test('without a gate', async () => {
    expect(await repeat(TIMES, () => expectWhole(program, 'bare', 'cold'))).toBe(TIMES)
  }, 180_000)

  test('behind the gate of an armed container', async () => {
    await using warm = await startProgram({ functions: { armed: define(4) } })
    let whole = 0
    for (; whole < TIMES; whole += 1) {
      await whenArmed(warm, 'armed')
      await expectWhole(warm, 'armed', 'armed')
    }
    expect(whole).toBe(TIMES)
  }, 180_000)
})

test('one who follows the logs of a call sees the output of each of its attempts', async () => {
  const id = await accept(program, 'retried')
  const url = `${program.url}/invocations/${id}`
  expect(await read(`${url}/logs?follow=1`)).toBe('began\nbegan\n')
  expect(await read(`${url}/logs`)).toBe('began\n')
  const ended = (await (await fetch(url)).json()) as { attempts: object[] }
  expect(ended).toMatchObject({
    state: 'succeeded',
    attempts: [{ exitCode: 3 }, { exitCode: 0 }],
  })
})
