import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { GITHUB_SECRET, pushBody, pushHeaders, pushTo } from './github-push.ts'

const build = `
image: busybox:stable
network_mode: none
command: ["sh", "-c", "cut -d ' ' -f 1 /proc/uptime; sleep 1; cut -d ' ' -f 1 /proc/uptime; echo $$ref $$SHA $$ONESHOT_EVENT; wc -c"]
parameters:
  ref: { type: string, required: true }
triggers:
  - type: webhook
    name: deploy
    provider: github
    secrets: [{ env: GITHUB_WEBHOOK_SECRET }]
    events: [push]
    when: { path: $.repository.full_name, eq: octocat/Hello-World }
    input: { parameters: { ref: $.ref }, environment: { SHA: $.after } }
    concurrency: { max: 1, key: $.ref, policy: queue }
`

interface Answered {
  readonly status: number
  readonly duplicate: string | null
  readonly id: string
}

/** The gateway on a data folder that outlives it. */
async function startBuilder() {
  const data = await mkdtemp(join(tmpdir(), 'oneshot-hooks-'))
  let program: Program | undefined
  onTestFinished(async () => {
    await program?.stop()
    await rm(data, { recursive: true, force: true })
  })
  const start = async () => {
    program = await startProgram({
      functions: { build },
      env: { ONESHOT_DATA: data, GITHUB_WEBHOOK_SECRET: GITHUB_SECRET },
    })
  }
  await start()
  const get = async <T>(path: string): Promise<T> => {
    const answer = await fetch(`${program!.url}${path}`)
    expect(answer.status).toBe(200)
    return (await answer.json()) as T
  }
  return {
    async restart(signal: NodeJS.Signals) {
      await program!.stop(signal)
      await start()
    },
    async deliver(
      body: Uint8Array<ArrayBuffer>,
      headers: Record<string, string>,
    ): Promise<Answered> {
      const answer = await fetch(`${program!.url}/hook/deploy`, { method: 'POST', body, headers })
      const { id } = (await answer.json()) as { id: string }
      return { status: answer.status, duplicate: answer.headers.get('x-oneshot-duplicate'), id }
    },
    result: (id: string) => get<Envelope>(`/invocations/${id}/result?wait=30`),
    async invocations(): Promise<string[]> {
      const { invocations } = await get<{ invocations: { id: string }[] }>('/invocations')
      return invocations.map(({ id }) => id)
    },
    deliveries: () =>
      get<{ deliveries: { verdict: string; invocation: string }[] }>('/hooks/deploy/deliveries'),
  }
}

/** When its command began and ended, in seconds since the machine did. */
function span({ stdout }: Envelope): [number, number] {
  const [from, to] = stdout.split('\n').map(Number)
  return [from!, to!]
}

test('a recorded push builds once, its duplicate not again, also after a restart and a crash', async () => {
  const { deliver, restart, result, invocations, deliveries } = await startBuilder()
  const push = () => deliver(Buffer.from(pushBody), pushHeaders)
  const { id, ...first } = await push()
  expect(first).toEqual({ status: 202, duplicate: null })
  const duplicate = { status: 200, duplicate: 'true', id }
  expect(await push()).toEqual(duplicate)
  // It runs still.
  await restart('SIGKILL')
  expect(await push()).toEqual(duplicate)
  const { exitCode, stdout } = await result(id)
  expect(exitCode).toBe(0)
  expect(stdout.split('\n').slice(2)).toEqual([
    'refs/heads/main 7fd1a60b01f91b314f59955a4e4d4e80d8edf11d push',
    String(pushBody.length),
    '',
  ])
  await restart('SIGTERM')
  expect(await push()).toEqual(duplicate)
  expect(await invocations()).toEqual([id])
  const told = (await deliveries()).deliveries
  expect(told.map(({ verdict }) => verdict)).toEqual([
    'duplicate',
    'duplicate',
    'duplicate',
    'accepted',
  ])
  expect(new Set(told.map(({ invocation }) => invocation))).toEqual(new Set([id]))
})

test('two pushes to one branch run in turn, pushes to two branches side by side', async () => {
  const { deliver, result } = await startBuilder()
  const pushes = ['main', 'main', 'next', 'main'].map(pushTo)
  const ids: string[] = []
  for (const { body, headers } of pushes) {
    const { status, id } = await deliver(Buffer.from(body), headers)
    expect(status).toBe(202)
    ids.push(id)
  }
  const [first, second, other, third] = (await Promise.all(ids.map(result))).map(span)
  expect(second![0]).toBeGreaterThanOrEqual(first![1])
  expect(third![0]).toBeGreaterThanOrEqual(second![1])
  expect(other![0]).toBeLessThan(first![1])
})
