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
