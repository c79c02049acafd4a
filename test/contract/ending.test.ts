import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../docker/containers.ts'
import type { Gateway } from './gateway.ts'
import { engine, findLeft, nothingLeft, shell, startGateway } from './gateway.ts'

/** Long enough for the command to begin on a busy machine: a service takes its time. */
const TIMEOUT_MS = engine === 'swarm' ? 8_000 : 5_000
const timeout = `timeout: ${TIMEOUT_MS}ms`
const graceful = 'trap "echo bye; exit 7" TERM; echo begun; while :; do sleep 0.1; done'

const functions = {
  stubborn: shell(
    'trap "" TERM; echo begun; while :; do sleep 1; done',
    `${timeout}\nstop_grace_period: 1s`,
  ),
  graceful: shell(graceful, timeout),
  'graceful-input': shell(`read -r line; echo "$line"; ${graceful}`, timeout),
  signalled: shell(
    'trap "exit 3" TERM; trap "echo interrupted; exit 8" INT; echo begun; while :; do sleep 0.1; done',
    `${timeout}\nstop_signal: SIGINT`,
  ),
  hasty: shell('echo begun; sleep 60', 'timeout: 1ms\nstop_grace_period: 1s'),
  cancelled: shell(graceful, 'timeout: 5m'),
  'cancelled-later': shell(graceful, 'timeout: 5m'),
  early: shell('echo begun; exec sleep 1000', 'timeout: 5m\nstop_grace_period: 1s'),
  forever: shell('echo begun; exec sleep 1000', 'timeout: 5m\nstop_grace_period: 0s'),
}

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ functions })
})
afterAll(() => gateway?.stop())

const accept = async (name: string): Promise<string> => {
  const answer = await fetch(`${gateway.url}/async-function/${name}`, { method: 'POST' })
  expect(answer.status).toBe(202)
  return ((await answer.json()) as { id: string }).id
}
const cancel = (id: string) => fetch(`${gateway.url}/invocations/${id}/cancel`, { method: 'POST' })
const findStatus = async (id: string, query = '') =>
  (await (await fetch(`${gateway.url}/invocations/${id}${query}`)).json()) as { state: string }
const readLogs = async (id: string) => (await fetch(`${gateway.url}/invocations/${id}/logs`)).text()
/** Its command has printed what it prints first. */
const whenBegun = (id: string) =>
  eventually(
    () => readLogs(id),
    (logs) => logs === 'begun\n',
  )

describe.concurrent('a call past its timeout', () => {
  test('is killed if its command ignores SIGTERM, and gives what it had printed', async () => {
    const answer = await gateway.envelope('stubborn')
    expect(answer).toMatchObject({
      status: 504,
      state: 'timed_out',
      reason: 'timed_out',
      exitCode: 137,
      stdout: 'begun\n',
    })
    expect(answer.durationMs).toBeGreaterThanOrEqual(TIMEOUT_MS + 1_000)
    await nothingLeft('stubborn')
  })

  test.each([
    ['graceful', null, 'begun\nbye\n', 7],
    ['graceful-input', 'line\n', 'line\nbegun\nbye\n', 7],
    ['signalled', null, 'begun\ninterrupted\n', 8],
  ])('ends in its own way within the grace period (%s)', async (name, body, stdout, exitCode) => {
    const answer = await gateway.envelope(name, { body })
    expect(answer).toMatchObject({ status: 504, state: 'timed_out', exitCode, stdout })
    expect(answer.durationMs).toBeLessThan(TIMEOUT_MS + 8_000)
    await nothingLeft(name)
  })

  test('that came before its command could start has no exit code, and leaves nothing', async () => {
    expect(await gateway.envelope('hasty')).toMatchObject({
      status: 504,
      state: 'timed_out',
      startedAt: null,
      stdout: '',
      exitCode: null,
    })
    await nothingLeft('hasty')
  })
})

describe.concurrent('a call that is cancelled', () => {
  test('ends in its own way, and whoever waits is told', async () => {
    const waiting = gateway.call('cancelled', { headers: { Accept: 'text/event-stream' } })
    const response = await waiting
    const id = response.headers.get('x-oneshot-invocation-id') ?? ''
    await whenBegun(id)
    expect((await cancel(id)).status).toBe(200)
    const text = await response.text()
    expect(text).toContain('data: bye')
    const [, end = ''] = /event: end\ndata: (.*)/.exec(text) ?? []
    expect(JSON.parse(end)).toMatchObject({
      state: 'cancelled',
      reason: 'cancelled',
      exitCode: 7,
      stdout: 'begun\nbye\n',
    })
    await nothingLeft('cancelled')
  })

  test('ends in its own way though nobody waits, its output kept', async () => {
    const id = await accept('cancelled-later')
    await whenBegun(id)
    await cancel(id)
    expect(await findStatus(id, '?wait=30')).toMatchObject({ state: 'cancelled', exitCode: 7 })
    expect(await readLogs(id)).toBe('begun\nbye\n')
    await nothingLeft('cancelled-later')
  })

  test('at once has not run, or is stopped', async () => {
    const id = await accept('early')
    await cancel(id)
    expect(await findStatus(id, '?wait=30')).toMatchObject({ state: 'cancelled' })
    await nothingLeft('early')
  })
})

test('a client that goes away stops its call', async () => {
  const leaving = new AbortController()
  const response = await gateway.call('forever', {
    signal: leaving.signal,
    headers: { Accept: 'text/event-stream' },
  })
  await response.body?.getReader().read()
  expect(await findLeft('forever')).not.toEqual([])
  leaving.abort()
  await nothingLeft('forever')
})
