import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually, findContainers, noContainers } from './containers.ts'

const run = promisify(execFile)
const asRoot = (command: string, ...args: string[]) =>
  process.getuid?.() === 0 ? run(command, args) : run('sudo', ['-n', command, ...args])

let folder: string
/** A file system of its own, of 80 MiB: the gateway wants 64 left. */
let disk: string
let program: Program
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-full-'))
  disk = join(folder, 'disk')
  await mkdir(disk)
  await asRoot('mount', '-t', 'tmpfs', '-o', 'size=80m,mode=0777', 'tmpfs', disk)
  await start()
})
afterEach(async () => {
  await rm(join(disk, 'fill'), { force: true })
  await program?.stop()
  await asRoot('umount', disk)
  await rm(folder, { recursive: true, force: true })
})

async function start(): Promise<void> {
  program = await startProgram({
    functions: {
      held: `image: busybox:stable
network_mode: none
concurrency: 1
retries: 0
volumes: ['${folder}:/test:ro']
command: [sh, -c, 'echo begun; until [ -e "/test/$$word" ]; do sleep 0.05; done; echo "$$word"; exit 3']
parameters:
  word: { type: string, required: true }
`,
    },
    env: { ONESHOT_DATA: join(disk, 'data'), ONESHOT_SHUTDOWN_TIMEOUT: '1s' },
  })
}

/** Takes all that is left. */
async function fill(): Promise<void> {
  const file = await open(join(disk, 'fill'), 'w')
  const chunk = Buffer.alloc(1024 ** 2)
  for (let length = chunk.length; length > 0;) {
    const written = await file.write(chunk, 0, length).catch(() => undefined)
    if (written === undefined) length = length > 4096 ? 4096 : 0
  }
  await file.close()
}

const empty = () => rm(join(disk, 'fill'))
const letGo = (word: string) => writeFile(join(folder, word), '')
const get = async (path: string) => (await (await fetch(`${program.url}${path}`)).json()) as object
const accept = async (word: string) => {
  const url = `${program.url}/async-function/held?word=${word}`
  const answer = await fetch(url, { method: 'POST' })
  return { status: answer.status, ...((await answer.json()) as { id: string; code?: string }) }
}
/** Its command: the invocation runs before that. */
const isRunning = (id: string) =>
  eventually(
    async () => (await fetch(`${program.url}/invocations/${id}/logs`)).text(),
    (logs) => logs === 'begun\n',
  )
const isRefused = () =>
  eventually(
    () => accept('refused'),
    ({ status, code }) => status === 507 && code === 'storage_full',
  )
const hasEnded = () =>
  eventually(
    () => findContainers('held'),
    (containers) => containers.some(({ State }) => State === 'exited'),
  )
const resultOf = async (id: string) => {
  await get(`/invocations/${id}?wait=30`)
  return (await get(`/invocations/${id}/result`)) as Envelope
}

describe('a data folder whose disk is full', () => {
  test('takes no new call, and what was accepted ends as it should once there is room', async () => {
    const [first, second] = [await accept('one'), await accept('two')]
    await isRunning(first.id)
    await fill()
    await isRefused()
    await letGo('one')
    await letGo('two')
    await eventually(
      async () => program.logs,
      (logs) => logs.some(({ msg }) => String(msg).startsWith('a record could not be written')),
    )
    await empty()
    expect(await resultOf(first.id)).toMatchObject({ exitCode: 3, stdout: 'begun\none\n' })
    expect(await resultOf(second.id)).toMatchObject({ exitCode: 3, stdout: 'begun\ntwo\n' })
    const third = await accept('one')
    expect(await resultOf(third.id)).toMatchObject({ exitCode: 3, stdout: 'begun\none\n' })
  })

  test('lets the gateway end, and the next one find what could not be written', async () => {
    const { id } = await accept('one')
    await isRunning(id)
    await fill()
    await letGo('one')
    await hasEnded()
    expect(await program.stop()).toBe(0)
    await empty()
    await start()
    expect(await resultOf(id)).toMatchObject({ exitCode: 3, stdout: 'begun\none\n' })
    await noContainers('held')
  })

  test('does not keep a killed gateway from starting again', async () => {
    const { id } = await accept('one')
    await isRunning(id)
    const waiting = fetch(`${program.url}/function/held?word=two`, { method: 'POST' })
    waiting.catch(() => {})
    const listed = await eventually(
      () => get('/invocations?state=queued') as Promise<{ invocations: { id: string }[] }>,
      ({ invocations }) => invocations.length === 1,
    )
    await fill()
    await program.stop('SIGKILL')
    await expect(waiting).rejects.toThrow('fetch failed')
    await start()
    await letGo('one')
    await hasEnded()
    await empty()
    expect(await resultOf(id)).toMatchObject({ exitCode: 3, stdout: 'begun\none\n' })
    const left = await get(`/invocations/${listed.invocations[0]!.id}?wait=30`)
    expect(left).toMatchObject({ state: 'failed', attempts: [] })
  })

  test('does not keep a caller from his answer', async () => {
    const url = `${program.url}/function/held?word=one`
    const waiting = fetch(url, { method: 'POST' })
    const { invocations } = await eventually(
      () => get('/invocations?state=running') as Promise<{ invocations: { id: string }[] }>,
      (listing) => listing.invocations.length === 1,
    )
    await isRunning(invocations[0]!.id)
    await fill()
    await letGo('one')
    const answer = await waiting
    expect(await answer.json()).toMatchObject({ exitCode: 3, stdout: 'begun\none\n' })
    expect(await program.stop()).toBe(0)
    await empty()
    await start()
    expect(await resultOf(invocations[0]!.id)).toMatchObject({
      exitCode: 3,
      stdout: 'begun\none\n',
    })
    await noContainers('held')
  })
})
