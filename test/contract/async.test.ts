import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import { eventually, findContainers } from '../docker/containers.ts'
import type { Receiver } from '../outgoing/receiver.ts'
import { receive, RECEIVER } from '../outgoing/receiver.ts'
import type { CallInit, Gateway } from './gateway.ts'
import { engine, nothingLeft, shell, startGateway } from './gateway.ts'

const define = (folder: string) => ({
  echo: 'image: busybox:stable\nnetwork_mode: none\ncommand: cat\n',
  both: shell('echo out; echo err >&2; printf rest; exit 5'),
  retried: shell(
    'echo "attempt $ONESHOT_ATTEMPT"; cat; [ "$ONESHOT_ATTEMPT" = 3 ] || exit 75',
    'retries: { max: 5, minDelay: 100ms, maxDelay: 200ms, onExit: [75] }',
  ),
  given: shell('exit 75', 'retries: { max: 1, minDelay: 100ms, onExit: [75] }'),
  once: shell('exit 75', 'retries: { max: 3, minDelay: 100ms, onExit: [76] }'),
  slow: shell(
    'sleep 60',
    `timeout: ${engine === 'swarm' ? 6 : 3}s
stop_grace_period: 0s
retries: { max: 1, minDelay: 100ms, onTimeout: true }`,
  ),
  live: shell(
    'echo first; echo aside >&2; until [ -e /marks/$ONESHOT_INVOCATION_ID ]; do sleep 0.05; done; printf second; exit 4',
    `volumes: ['${folder}:/marks']`,
  ),
  labels: shell(
    'until [ -e /marks/$ONESHOT_INVOCATION_ID ]; do sleep 0.05; done',
    `labels: { team: blue, oneshot.gateway: mine }\nvolumes: ['${folder}:/marks']`,
  ),
})

let gateway: Gateway
let folder: string
let receiver: Receiver
const secret = `whsec_${randomBytes(32).toString('base64')}`
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-async-'))
  await writeFile(join(folder, 'secret'), `${secret}\n`)
  receiver = await receive((_, response) => response.end())
  gateway = await startGateway({
    functions: define(folder),
    env: {
      ONESHOT_CALLBACK_ALLOW: RECEIVER,
      ONESHOT_CALLBACK_SECRETS: join(folder, 'secret'),
    },
  })
})
afterAll(async () => {
  await gateway?.stop()
  await receiver?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

interface Status {
  readonly id: string
  readonly state: string
  readonly attempts: readonly { readonly exitCode?: number }[]
}

async function accept(name: string, init: RequestInit = {}): Promise<string> {
  const answer = await fetch(`${gateway.url}/async-function/${name}`, { method: 'POST', ...init })
  expect(answer.status).toBe(202)
  return ((await answer.json()) as { id: string }).id
}

const get = (path: string, headers: CallInit['headers'] = {}) =>
  fetch(`${gateway.url}/invocations/${path}`, { headers })

async function findEnd(id: string): Promise<Status> {
  return eventually(
    async () => (await (await get(`${id}?wait=2`)).json()) as Status,
    ({ state }) => state !== 'queued' && state !== 'running',
    50_000,
  )
}

const letGoOn = (id: string) => writeFile(join(folder, id), '')

describe.concurrent('a call that nobody waits for', () => {
  test('has a result, and its output, for whoever asks', async () => {
    const id = await accept('both')
    expect(await findEnd(id)).toMatchObject({ state: 'failed', exitCode: 5 })
    const envelope = (await (await get(`${id}/result`)).json()) as Envelope
    expect(envelope).toMatchObject({ engine, stdout: 'out\nrest', stderr: 'err\n', exitCode: 5 })
    expect(await (await get(`${id}/logs?stream=stdout`)).text()).toBe('out\nrest')
    expect(await (await get(`${id}/logs?stream=stderr`)).text()).toBe('err\n')
    await nothingLeft('both')
  })

  test('gets its input, byte for byte', async () => {
    const body = randomBytes(300_000)
    const id = await accept('echo', { body })
    await findEnd(id)
    const raw = await get(`${id}/result`, { Accept: 'application/octet-stream' })
    expect(Buffer.from(await raw.arrayBuffer()).equals(body)).toBe(true)
  })

  test('shows what it has printed to one who asks while it runs', async () => {
    const id = await accept('live')
    const read = async () => (await get(`${id}/logs`)).text()
    await eventually(read, (text) => text.includes('first\n') && text.includes('aside\n'), 30_000)
    expect((await (await get(id)).json()) as Status).toMatchObject({ state: 'running' })
    const followed = await get(`${id}/logs?follow=1&stream=stdout`)
    await letGoOn(id)
    expect(await followed.text()).toBe('first\nsecond')
    expect(await findEnd(id)).toMatchObject({ state: 'failed', exitCode: 4 })
    const lines = await get(`${id}/logs`, { Accept: 'application/x-ndjson' })
    const texts = (await lines.text()).trimEnd().split('\n')
    expect(texts.map((line) => (JSON.parse(line) as { text: string }).text).sort()).toEqual([
      'aside',
      'first',
      'second',
    ])
  })

  test('runs with the labels of its definition, and ours above them', async () => {
    const id = await accept('labels')
    const [container] = await eventually(
      () => findContainers('labels'),
      (found) => found.length === 1,
      30_000,
    )
    await letGoOn(id)
    expect(container?.Names[0]).toMatch(new RegExp(`^/oneshot-${id}($|\\.)`))
    expect(container?.Labels).toMatchObject({
      team: 'blue',
      'oneshot.invocation': id,
      'oneshot.function': 'labels',
    })
    expect(container?.Labels['oneshot.gateway']).not.toBe('mine')
    expect(await findEnd(id)).toMatchObject({ state: 'succeeded' })
  })
})

describe.concurrent('a call that fails', () => {
  test('is tried again with the same input until it succeeds', async () => {
    const id = await accept('retried', { body: 'input\n' })
    const { state, attempts } = await findEnd(id)
    expect(state).toBe('succeeded')
    expect(attempts.map(({ exitCode }) => exitCode)).toEqual([75, 75, 0])
    expect(await (await get(`${id}/logs`)).text()).toBe('attempt 3\ninput\n')
    await nothingLeft('retried')
  })

  test('is tried as often as the definition says, and then has failed', async () => {
    expect(await findEnd(await accept('given'))).toMatchObject({
      state: 'failed',
      exitCode: 75,
      attempts: [{ exitCode: 75 }, { exitCode: 75 }],
    })
  })

  test('is not tried again unless its exit code is worth it', async () => {
    expect(await findEnd(await accept('once'))).toMatchObject({
      state: 'failed',
      attempts: [{ exitCode: 75 }],
    })
  })

  test('for want of time is tried again if the definition says so', async () => {
    const { attempts } = await findEnd(await accept('slow'))
    expect(attempts).toMatchObject([{ reason: 'timed_out' }, { reason: 'timed_out' }])
    await nothingLeft('slow')
  })
})

describe('a callback', () => {
  test('is signed, and tells what a caller who waits would have been told', async () => {
    const headers = { 'X-Callback-Url': `http://${RECEIVER}:${receiver.port}/done` }
    const id = await accept('both', { headers })
    const request = await eventually(
      async () => receiver.received.find((it) => it.headers['x-oneshot-invocation-id'] === id),
      (it) => it !== undefined,
      30_000,
    )
    const webhook = new Webhook(secret)
    const told = webhook.verify(request!.body, request!.headers as Record<string, string>)
    const { data } = told as { data: Envelope }
    expect(data).toEqual(await (await get(`${id}/result`)).json())
    expect(data).toMatchObject({ id, engine, exitCode: 5, stdout: 'out\nrest', stderr: 'err\n' })
  })
})
