import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually, findContainers, noContainers } from './containers.ts'

const CALLS = 300
const KILLS = 20
const CLIENTS = 6
const seed = Number(process.env['CRASH_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const random = createRandom(seed)

/** Of the invocation's record, what the tests look at. */
interface Status {
  readonly id: string
  readonly state: string
  readonly reason?: string
  readonly attempts: readonly { readonly number: number; readonly error?: { detail: string } }[]
}

interface Planned {
  readonly path: string
  readonly body: Buffer | undefined
  readonly wantsCallback: boolean
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

interface Received {
  readonly webhookId: string
  readonly envelope: Envelope
}

let folder: string
let receiver: Awaited<ReturnType<typeof startReceiver>>
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-crash-'))
  // Its writers are the containers' root, whom nothing lets pass over a mode.
  await chmod(folder, 0o777)
  receiver = await startReceiver()
})
afterAll(async () => {
  receiver?.server.close()
  await rm(folder, { recursive: true, force: true })
})

test(`${CALLS} accepted calls come to their right ends through ${KILLS} kills of the gateway (CRASH_SEED=${seed})`, async () => {
  const planned = Array.from({ length: CALLS }, plan)
  const accepted = new Map<string, Planned>()
  const gateway = createGateway()
  onTestFinished(() => gateway.kill())
  await gateway.start()
  const calling = callAll(planned, gateway, (id, call) => accepted.set(id, call))
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Every other one hits a gateway that takes calls, the rest may come while it still starts.
    if (kill % 2 === 0) await gateway.listening()
    await sleep(random() * 3_000)
    await gateway.kill()
    await gateway.start()
  }
  await calling
  const program = await gateway.listening()
  const url = program.url

  const ends = new Map<string, { status: Status; envelope: Envelope }>()
  await Promise.all([...accepted.keys()].map(async (id) => ends.set(id, await findEnd(url, id))))
  const retried = [...ends.values()].filter(({ status }) => status.attempts.length > 1)
  console.log(
    `seed ${seed}: ${accepted.size} accepted, ${retried.length} with a second attempt, ${gateway.early()} kills before listening`,
  )
  for (const { status } of retried) {
    console.log(JSON.stringify(status.attempts.map(({ error }) => error?.detail ?? 'ended')))
  }

  const wrong = [...ends].flatMap(([id, { envelope }]) => {
    const { path, exitCode, stdout, stderr } = accepted.get(id)!
    const wanted = { path, exitCode, stdout: digest(stdout), stderr }
    const got = {
      path,
      exitCode: envelope.exitCode,
      stdout: digest(envelope.stdout),
      stderr: envelope.stderr,
    }
    const isRight = JSON.stringify(wanted) === JSON.stringify(got)
    return isRight
      ? []
      : [
          {
            id,
            wanted: { ...wanted, stdout: stdout.slice(0, 80) },
            envelope: { ...envelope, stdout: envelope.stdout.slice(0, 80) },
          },
        ]
  })
  expect(wrong).toEqual([])
  expect(accepted.size).toBe(CALLS)

  // More than were accepted, as far as their clients know: of some the kill has cut off the 202.
  const recorded = await listAll(url)
  const ids = new Set(recorded.map(({ id }) => id))
  expect([...accepted.keys()].filter((id) => !ids.has(id))).toEqual([])
  expect(recorded.filter(({ reason }) => reason !== 'exited')).toEqual([])
  const runs = await countRuns(join(folder, 'runs'))
  const repeated = recorded.filter(({ id, attempts }) => {
    const times = runs.get(id) ?? 0
    return times < 1 || times > attempts.length
  })
  expect(repeated).toEqual([])

  const awaited = [...accepted].filter(([, { wantsCallback }]) => wantsCallback)
  await eventually(
    async () => awaited.filter(([id]) => !receiver.received.has(id)).map(([id]) => id),
    (missing) => missing.length === 0,
    30_000,
  )
  const secret = await readFile(join(folder, 'data/callback-secret'), 'utf8')
  const webhook = new Webhook(secret.trim())
  for (const { body, headers } of receiver.requests) webhook.verify(body, headers)
  for (const [id] of awaited) {
    const received = receiver.received.get(id)!
    expect(new Set(received.map(({ webhookId }) => webhookId)).size).toBe(1)
    for (const { envelope } of received) expect(envelope).toEqual(ends.get(id)!.envelope)
  }

  // What is left is what this process has made ahead.
  await eventually(
    () => findContainers(),
    (containers) =>
      containers.every(
        ({ Labels, Created }) =>
          Labels['oneshot.invocation'] === undefined && Created >= gateway.startedAt(),
      ),
    30_000,
  )
  expect(await program.stop()).toBe(0)
  await noContainers()
}, 300_000)

function plan(_: unknown, index: number): Planned {
  const wantsCallback = random() < 0.5
  const suffix = random() < 0.5 ? '' : '-bare'
  if (random() < 0.35) {
    // Up to 64 KiB inputs are kept in the store; a pipe and a socket hold some 300 more.
    const length = Math.floor(10 ** (1 + 4.9 * random()))
    const input = `${index}:`.padEnd(
      length,
      createHash('sha256').update(`${seed}:${index}`).digest('hex'),
    )
    const name = random() < 0.5 ? 'echo' : 'late-echo'
    const call = { path: `${name}${suffix}`, body: Buffer.from(input), wantsCallback }
    return { ...call, exitCode: 0, stdout: input, stderr: '' }
  }
  const seconds = (0.1 + 1.4 * random()).toFixed(2)
  const exitCode = random() < 0.5 ? 0 : Math.floor(1 + random() * 120)
  const path = `run${suffix}?word=w${index}&seconds=${seconds}&code=${exitCode}`
  return {
    path,
    body: undefined,
    wantsCallback,
    exitCode,
    stdout: `begun w${index}\ndone\n`,
    stderr: `half w${index}\n`,
  }
}

function toDefinitions(): Record<string, string> {
  const note = 'echo "$$ONESHOT_INVOCATION_ID" >>/ran/runs'
  const define = (script: string, warm: string, more = '', args = '') => `image: busybox:stable
network_mode: none
warm: ${warm}
volumes: ['${folder}:/ran']
timeout: 2m
retries: { max: 10 }
command: [sh, -c, '${note}; ${script}', sh${args}]
${more}`
  const parameters = `parameters:
  word: { type: string, required: true }
  seconds: { type: string, required: true }
  code: { type: integer, required: true }
`
  const run = 'echo "begun $$1"; echo "half $$1" >&2; sleep "$$2"; echo done; exit "$$3"'
  const args = ", '${{ word }}', '${{ seconds }}', '${{ code }}'"
  return {
    echo: define('cat', '2'),
    'echo-bare': define('cat', '0'),
    'late-echo': define('sleep 0.4; cat', '1'),
    'late-echo-bare': define('sleep 0.4; cat', '0'),
    run: define(run, '2', parameters, args),
    'run-bare': define(run, '0', parameters, args),
  }
}

/** One gateway through all of its processes. */
function createGateway() {
  const functions = toDefinitions()
  let killing = new AbortController()
  let listening: Promise<Program | undefined>
  let startedAt = 0
  let early = 0
  return {
    async start() {
      killing = new AbortController()
      // The engine tells whole seconds.
      startedAt = Math.floor(Date.now() / 1000)
      listening = startProgram({
        functions,
        kill: killing.signal,
        env: {
          ONESHOT_DATA: join(folder, 'data'),
          ONESHOT_CONCURRENCY: '8',
          ONESHOT_SWEEP_INTERVAL: '2s',
          ONESHOT_CALLBACK_ALLOW: '127.0.0.1',
        },
      }).catch((error: unknown) => {
        if (!killing.signal.aborted) throw error
        early += 1
        return undefined
      })
    },
    async kill() {
      killing.abort()
      await (await listening)?.stop('SIGKILL')
    },
    /** Asks on, through however many kills. */
    async listening(): Promise<Program> {
      for (;;) {
        const asked = listening
        const program = await asked
        if (program && !killing.signal.aborted) return program
        if (asked === listening) await sleep(20)
      }
    },
    startedAt: () => startedAt,
    early: () => early,
  }
}

/** Each is sent again until one of its requests is answered 202. */
async function callAll(
  planned: readonly Planned[],
  gateway: ReturnType<typeof createGateway>,
  onAccepted: (id: string, call: Planned) => void,
): Promise<void> {
  const left = [...planned]
  const client = async () => {
    for (let call = left.shift(); call; call = left.shift()) {
      for (;;) {
        const { url } = await gateway.listening()
        const id = await submit(url, call).catch(() => undefined)
        if (id !== undefined) {
          onAccepted(id, call)
          break
        }
        await sleep(20)
      }
      await sleep(random() * 1_600)
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
}

async function submit(url: string, { path, body, wantsCallback }: Planned): Promise<string> {
  const headers = {
    Prefer: 'respond-async',
    ...(wantsCallback && { 'X-Oneshot-Callback-Url': receiver.url }),
    ...(body && { 'Content-Type': 'application/octet-stream' }),
  }
  const init = { method: 'POST', headers, ...(body && { body: new Uint8Array(body) }) }
  const answer = await fetch(`${url}/function/${path}`, init)
  const accepted = (await answer.json()) as { id: string }
  if (answer.status !== 202) throw new Error(JSON.stringify(accepted))
  return accepted.id
}

async function findEnd(url: string, id: string) {
  for (;;) {
    const status = (await (await fetch(`${url}/invocations/${id}?wait=30`)).json()) as Status
    if (status.state === 'queued' || status.state === 'running') continue
    const headers = { Accept: 'application/json' }
    const result = await fetch(`${url}/invocations/${id}/result`, { headers })
    return { status, envelope: (await result.json()) as Envelope }
  }
}

async function listAll(url: string): Promise<Status[]> {
  const all: Status[] = []
  let next: string | undefined
  do {
    const cursor: string = next === undefined ? '' : `?cursor=${encodeURIComponent(next)}`
    const page = (await (await fetch(`${url}/invocations${cursor}`)).json()) as {
      invocations: Status[]
      next?: string
    }
    all.push(...page.invocations)
    next = page.next
  } while (next !== undefined)
  return all
}

async function countRuns(path: string): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const id of (await readFile(path, 'utf8')).trim().split('\n')) {
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  return counts
}

async function startReceiver() {
  const received = new Map<string, Received[]>()
  const requests: { body: Buffer; headers: Record<string, string> }[] = []
  const server = createServer((request, response) => {
    void buffer(request).then(
      (body) => {
        const headers = request.headers as Record<string, string>
        const { data: envelope } = JSON.parse(body.toString()) as { data: Envelope }
        const { 'webhook-id': webhookId = '' } = headers
        requests.push({ body, headers })
        received.set(envelope.id, [...(received.get(envelope.id) ?? []), { webhookId, envelope }])
        response.end()
        return undefined
      },
      () => {},
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { server, received, requests, url: `http://127.0.0.1:${port}/` }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Mulberry32: from 0 to 1, the same for the same seed. */
function createRandom(from: number): () => number {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
