import { createHmac } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import { eventually } from '../docker/containers.ts'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, shell, startGateway } from './gateway.ts'

const SECRET = 'a secret of the tests, long enough'

const functions = {
  build: shell(
    'printf "%s|" "$ref" "$WHO" "$NODE" "$ONESHOT_TRIGGER" "$ONESHOT_HOOK" "$ONESHOT_EVENT"; cat',
    `environment: { WHO: nobody, NODE: here }
parameters: { ref: { type: string } }
triggers:
  - type: webhook
    name: deploy
    provider: github
    secrets: [{ env: HOOK_SECRET }]
    events: [push]
    input: { parameters: { ref: $.ref }, environment: { WHO: $.who } }
    mode: sync`,
  ),
  ticking: shell(
    'echo "$ONESHOT_TRIGGER $ONESHOT_SCHEDULE $ONESHOT_SCHEDULED_AT $word"; cat',
    `parameters: { word: { type: string } }
triggers: [{ type: schedule, name: often, every: 2s, parameters: { word: hello }, body: "from it" }]`,
  ),
}

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ functions, env: { HOOK_SECRET: SECRET } })
})
afterAll(async () => {
  // What has been accepted would outlive the gateway.
  await rm(join(gateway.program.functionsFolder, 'ticking.yml'))
  await eventually(
    () => getJson<{ schedules: object[] }>('/schedules'),
    ({ schedules }) => schedules.length === 0,
  )
  await nothingLeft('ticking')
  await gateway.stop()
  await nothingLeft()
})

async function getJson<T>(path: string): Promise<T> {
  return (await (await fetch(`${gateway.url}${path}`)).json()) as T
}

/** As GitHub sends it. */
async function deliver(payload: object): Promise<Response> {
  const body = JSON.stringify(payload)
  const signature = createHmac('sha256', SECRET).update(body).digest('hex')
  const headers = {
    'Content-Type': 'application/json',
    'X-GitHub-Event': 'push',
    'X-GitHub-Delivery': crypto.randomUUID(),
    'X-Hub-Signature-256': `sha256=${signature}`,
  }
  return fetch(`${gateway.url}/hook/deploy`, { method: 'POST', headers, body })
}

/** The envelope of a call that was not waited for. */
async function resultOf(id: string): Promise<Envelope> {
  const response = await fetch(`${gateway.url}/invocations/${id}/result?wait=30`)
  expect(response.status).toBe(200)
  return (await response.json()) as Envelope
}

test.each([
  ['main', 'someone'],
  ['$(id)', '`id` "$HOME" \'x\' \\'],
  ['{{.Node.ID}}', '{{.Node.Hostname}} {{"x"}}'],
  ['line\nbreak', 'ünïcödé 💥'],
])('a delivery gives the command %j and %j, byte for byte', async (ref, who) => {
  const payload = { ref, who, zen: 'Keep it logically awesome.' }
  const response = await deliver(payload)
  expect([200, 202]).toContain(response.status)
  const id = response.headers.get('X-Oneshot-Invocation-Id') ?? ''
  const { stdout, exitCode, engine: ranBy } = await resultOf(id)
  const said = `${ref}|${who}|here|webhook|deploy|push|${JSON.stringify(payload)}`
  expect({ stdout, exitCode, ranBy }).toEqual({ stdout: said, exitCode: 0, ranBy: engine })
})

test('a schedule gives the command its parameters, its input and its time', async () => {
  const { invocations } = await eventually(
    () =>
      getJson<{ invocations: { id: string; trigger: object }[] }>(
        '/invocations?function=ticking&state=succeeded',
      ),
    ({ invocations }) => invocations.length > 1,
  )
  const [newest] = invocations
  expect(newest?.trigger).toEqual({ type: 'schedule', name: 'often' })
  const { stdout } = await resultOf(newest?.id ?? '')
  expect(stdout).toMatch(/^schedule often \d{4}-\d\d-\d\dT[\d:]+[02468]\.000Z hello\nfrom it$/)
})
