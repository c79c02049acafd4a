import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Problem } from '../../src/http/errors.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually } from './containers.ts'
import { docker } from './docker-client.ts'
import type { PrivateEngine } from './private-engine.ts'
import { startPrivateEngine } from './private-engine.ts'

const functions = {
  ready: 'image: busybox:stable\nnetwork_mode: none\nwarm: 1\ncommand: [echo, ready]\n',
  quick: 'image: busybox:stable\nnetwork_mode: none\ncommand: [echo, quick]\n',
  long: 'image: busybox:stable\nnetwork_mode: none\ncommand: [sh, -c, "echo begun; exec sleep 1000"]\n',
  gated: toAsync('warm: 1'),
  bare: toAsync('warm: 0'),
  turn: toAsync('warm: 0\nconcurrency: 2', '0.5'),
}

/** Says when it has begun, and gives its input back. The engine, on its way out, waits for none of them. */
function toAsync(more: string, seconds = '8'): string {
  const script = `echo begun; sleep ${seconds}; cat; exit 4`
  return `image: busybox:stable
network_mode: none
stop_grace_period: 1s
command: [sh, -c, '${script}']
${more}
`
}

let engine: PrivateEngine
let program: Program
beforeAll(async () => {
  engine = await startPrivateEngine('busybox:stable')
  program = await startProgram({
    functions,
    env: { DOCKER_HOST: engine.address, ONESHOT_SWEEP_INTERVAL: '500ms' },
  })
})
afterAll(async () => {
  await program?.stop()
  await engine?.purge()
})

const call = (name: string, headers: Record<string, string> = {}) =>
  fetch(`${program.url}/function/${name}`, { method: 'POST', headers })

test('the containers that were armed are armed anew once the engine is back', async () => {
  const armed = async () => (await fetch(`${program.url}/metrics`)).text()
  const one = 'oneshot_armed{function="ready"} 1\n'
  await eventually(armed, (metrics) => metrics.includes(one))
  await engine.kill()
  await eventually(armed, (metrics) => !metrics.includes(one))
  await engine.up()
  await eventually(armed, (metrics) => metrics.includes(one))
  const answer = await call('ready')
  expect(answer.headers.get('x-oneshot-start')).toBe('armed')
  expect(((await answer.json()) as Envelope).stdout).toBe('ready\n')
}, 60_000)

test.each(['down', 'kill'] as const)(
  'a call in whose midst the engine ends (%s) is told so, and the next one works once it is back',
  async (how) => {
    const pid = program.pid
    expect(((await (await call('quick')).json()) as Envelope).stdout).toBe('quick\n')

    const running = await call('long', { Accept: 'text/event-stream' })
    const reader = running.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toContain('data: begun')
    await engine[how]()
    let rest = ''
    for (let read = await reader?.read(); read && !read.done; read = await reader?.read())
      rest += read.value
    const envelope = JSON.parse(/event: end\ndata: (.*)/.exec(rest)?.[1] ?? '') as Envelope
    expect(envelope).toMatchObject({
      state: 'lost',
      reason: 'lost',
      exitCode: null,
      stdout: 'begun\n',
    })
    expect(envelope.error?.detail).toMatch(/engine failed while the command ran/)

    const refused = await call('quick')
    expect(refused.status).toBe(503)
    expect(((await refused.json()) as Problem).code).toBe('engine_unreachable')
    expect((await fetch(`${program.url}/readyz`)).status).toBe(503)
    expect((await fetch(`${program.url}/healthz`)).status).toBe(200)

    await engine.up()
    expect((await fetch(`${program.url}/readyz`)).status).toBe(200)
    expect(((await (await call('quick')).json()) as Envelope).stdout).toBe('quick\n')
    expect(program.pid).toBe(pid)
    const of = 'label=oneshot.invocation'
    const containers = () => docker('-H', engine.address, 'ps', '-aq', '--filter', of)
    expect(await eventually(containers, (ids) => ids === '')).toBe('')
  },
  120_000,
)

interface Status {
  readonly id: string
  readonly state: string
  readonly attempts: readonly { readonly number: number; readonly reason?: string }[]
}

test.each(['down', 'kill'] as const)(
  'accepted calls in whose midst the engine ends (%s) are run again once it is back, and those that wait as well',
  async (how) => {
    const accept = async (name: string, index: number) => {
      const body = `${name} ${index}`
      const url = `${program.url}/async-function/${name}`
      const headers = { 'Content-Type': 'application/octet-stream' }
      const answer = await fetch(url, { method: 'POST', body, headers })
      expect(answer.status).toBe(202)
      return { ...((await answer.json()) as { id: string }), name, body }
    }
    const names = ['gated', 'bare', 'turn', 'turn', 'turn']
    const accepted = await Promise.all(
      Array.from({ length: 20 }, (_, index) => accept(names[index % names.length]!, index)),
    )
    const get = async (path: string) => (await fetch(`${program.url}/invocations/${path}`)).text()
    const interrupted = accepted.filter(({ name }) => name !== 'turn')
    const findRunning = async () => {
      const logs = await Promise.all(interrupted.map(({ id }) => get(`${id}/logs`)))
      return new Set(interrupted.filter((_, at) => logs[at] === 'begun\n').map(({ name }) => name))
    }
    await eventually(findRunning, (running) => running.size === 2)
    await engine[how]()
    await engine.up()

    const lost = new Set<string>()
    for (const { id, name, body } of accepted) {
      const ended = async () => JSON.parse(await get(`${id}?wait=30`)) as Status
      const { state, attempts } = await eventually(
        ended,
        (it) => it.state !== 'queued' && it.state !== 'running',
        60_000,
      )
      expect({ name, state, attempts }).toMatchObject({ state: 'failed' })
      const { exitCode, stdout, error } = JSON.parse(await get(`${id}/result`)) as Envelope
      expect({ exitCode, stdout, error }).toEqual({ exitCode: 4, stdout: `begun\n${body}` })
      const reasons = attempts.map(({ reason }) => reason)
      // One that waited, or that ended by itself before the engine did, has been run once.
      expect(reasons.join()).toMatch(/^(?:lost,)*exited$/)
      if (reasons[0] === 'lost') lost.add(id)
      expect(attempts.map(({ number }) => number)).toEqual(reasons.map((_, index) => index + 1))
    }
    expect(interrupted.filter(({ id }) => lost.has(id))).not.toEqual([])
    const containers = () =>
      docker('-H', engine.address, 'ps', '-aq', '--filter', 'label=oneshot.invocation')
    expect(await eventually(containers, (ids) => ids === '')).toBe('')
  },
  180_000,
)
