import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import Docker from 'dockerode'
import { afterEach, describe, expect, test } from 'vitest'
import type { TaskResult } from '../../src/core/outcome.ts'
import type { Task, TaskHandle } from '../../src/core/task.ts'
import type { Engine, TaskStop } from '../../src/engine/engine.ts'
import { shellTask, startContainerEngine } from './container-engine.ts'
import type { TaskOptions } from './container-engine.ts'
import { eventually } from './containers.ts'
import { docker } from './docker-client.ts'
import type { Doom } from './doomed.ts'

const client = new Docker()
const gatewayId = `test-resume-${crypto.randomUUID()}`
const engines: Engine[] = []
const never: TaskStop = new AbortController().signal

const handles: TaskHandle[] = []

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.close()
  const left = new Set((await ours()).map(({ Names }) => Names[0]?.slice(1)))
  // Those that a killed process had armed, or was arming, are the sweep's.
  await eventually(
    async () => {
      const engine = nextEngine()
      await engine.sweep(() => false)
      await engine.close()
      return ours()
    },
    (found) => found.length === 0,
  )
  engines.length = 0
  const placed = handles.splice(0).find(({ name }) => left.has(name))
  if (placed) throw new Error(`${placed.name} was left behind`)
})

const ours = () =>
  client.listContainers({ all: true, filters: { label: [`oneshot.gateway=${gatewayId}`] } })

function nextEngine(): Engine {
  const engine = startContainerEngine(gatewayId)
  engines.push(engine)
  return engine
}

/** A process that runs the task, which ends only by `kill`. */
async function startDoomed(task: Task, options: Partial<Doom> = {}) {
  const doom: Doom = {
    gatewayId,
    task,
    armed: false,
    inputBytes: 0,
    hangsPlacing: false,
    ...options,
  }
  const file = join(import.meta.dirname, 'doomed.ts')
  const child = spawn(process.execPath, [file, JSON.stringify(doom)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const told: Record<string, unknown>[] = []
  createInterface(child.stdout).on('line', (line) => {
    told.push(JSON.parse(line) as Record<string, unknown>)
  })
  const hears = async (key: string): Promise<unknown> => {
    const find = () => Promise.resolve(told.find((line) => key in line)?.[key])
    return eventually(find, (value) => value !== undefined)
  }
  const handle = (await hears('handle')) as TaskHandle
  handles.push(handle)
  return {
    handle,
    hears,
    async kill() {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

interface Collected {
  readonly result: TaskResult | 'never_ran'
  readonly stdout: string
  readonly stderr: string
}

async function collect(
  engine: Engine,
  task: Task,
  handle: TaskHandle,
  { stop = never, recorded }: { stop?: TaskStop; recorded?: Promise<unknown> } = {},
): Promise<Collected> {
  const chunks = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] }
  const io = {
    stdout: (chunk: Uint8Array) => void chunks.stdout.push(chunk),
    stderr: (chunk: Uint8Array) => void chunks.stderr.push(chunk),
    ...(recorded && { recorded }),
  }
  const result = await engine.resume(task, handle, io, stop)
  const [stdout, stderr] = [chunks.stdout, chunks.stderr].map((all) =>
    Buffer.concat(all).toString('latin1'),
  )
  return { result, stdout: stdout!, stderr: stderr! }
}

async function find(name: string): Promise<Docker.ContainerInspectInfo | undefined> {
  return client
    .getContainer(name)
    .inspect()
    .catch(() => undefined)
}

const whenExited = (name: string) =>
  eventually(
    () => find(name),
    (info) => info?.State.Status === 'exited',
  )
const whenGone = (name: string) =>
  eventually(
    () => find(name),
    (info) => info === undefined,
  )

const kinds = [
  { kind: 'armed', gated: true, armed: true },
  { kind: 'gated', gated: true, armed: false },
  { kind: 'bare', gated: false, armed: false },
] as const

describe.each(kinds)('what a killed process ran ($kind)', ({ gated, armed }) => {
  /** Starts it, kills its process once it has printed, and waits for its end if that is wanted. */
  async function bereave(script: string, until?: 'exited', options: TaskOptions = {}) {
    const task = shellTask(script, { gated, ...options })
    const doomed = await startDoomed(task, { armed })
    await doomed.hears('stdout')
    await doomed.kill()
    if (until) await whenExited(doomed.handle.name)
    return { task, handle: doomed.handle }
  }

  test('is followed to its end, its output whole', async () => {
    const script = 'echo before; echo aside >&2; sleep 2; echo after; printf rest; exit 7'
    const { task, handle } = await bereave(script)
    expect(handle).toMatchObject({ start: armed ? 'armed' : 'cold' })
    expect(handle.nonce !== undefined).toBe(gated)
    const { result, stdout, stderr } = await collect(nextEngine(), task, handle)
    expect(result).toMatchObject({ kind: 'exited', exitCode: 7, oomKilled: false })
    expect(result).toMatchObject({ start: handle.start, startedAt: expect.any(Number) as number })
    expect([stdout, stderr]).toEqual(['before\nafter\nrest', 'aside\n'])
    const { timings } = result as TaskResult
    expect(timings.runMs).toBeGreaterThanOrEqual(1_900)
    await whenGone(handle.name)
  })

  test('is reported though it has ended since', async () => {
    const { task, handle } = await bereave('echo before; sleep 0.5; printf after; exit 3', 'exited')
    const stopped = new AbortController()
    stopped.abort('timed_out')
    const { result, stdout } = await collect(nextEngine(), task, handle, { stop: stopped.signal })
    expect(result).toMatchObject({ kind: 'exited', exitCode: 3 })
    expect((result as TaskResult).finishedAt).toBeLessThan(Date.now())
    expect(stdout).toBe('before\nafter')
    await whenGone(handle.name)
  })

  // 64 KB of all bytes, many lines among them; lines about the log's bounds; 1 MB in one line.
  const bytes = `i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done`
  const script = `say() { head -c $1 /dev/zero | tr '\\0' x; }
echo go
a=$(mktemp); (${bytes}) >$a; for i in $(seq 64); do cat $a; done
for n in 16383 16384 16385 32768 40000; do say $n; echo; done; echo; echo
sleep 1; say 20000 >&2; echo >&2; echo aside >&2; say 1000000`
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('latin1')
  const lines = [16383, 16384, 16385, 32768, 40000].map((length) => `${'x'.repeat(length)}\n`)
  const stdoutWanted = `go\n${all.repeat(64)}${lines.join('')}\n\n${'x'.repeat(1_000_000)}`
  const stderrWanted = `${'x'.repeat(20_000)}\naside\n`

  test.each([undefined, 'exited'] as const)('has each byte of its output (%s)', async (until) => {
    const { task, handle } = await bereave(script, until)
    const { result, stdout, stderr } = await collect(nextEngine(), task, handle)
    expect(result).toMatchObject({ kind: 'exited', exitCode: 0 })
    expect(stdout.length).toBe(stdoutWanted.length)
    expect(stdout === stdoutWanted).toBe(true)
    expect(stderr === stderrWanted).toBe(true)
  })

  test('has its exit code and the end of its output though its log was cut off', async () => {
    const flood = 'echo go; seq 400000; echo the end; exit 5'
    const { task, handle } = await bereave(flood, undefined, { logBytes: 200_000 })
    const { result, stdout } = await collect(nextEngine(), task, handle)
    expect(result).toMatchObject({ kind: 'exited', exitCode: 5 })
    expect(stdout.endsWith('\n399999\n400000\nthe end\n')).toBe(true)
  })

  test('is stopped when it is to be', async () => {
    const { task, handle } = await bereave(
      'echo begun; trap "echo got it; exit 4" TERM; sleep 60 & wait',
    )
    const stopping = new AbortController()
    const collecting = collect(nextEngine(), task, handle, { stop: stopping.signal })
    setTimeout(() => stopping.abort('cancelled'), 500)
    const { result, stdout } = await collecting
    expect(result).toMatchObject({ kind: 'stopped', by: 'cancelled', exitCode: 4 })
    expect(stdout).toBe('begun\ngot it\n')
    await whenGone(handle.name)
  })

  test('is not swept while it is taken up', async () => {
    const { task, handle } = await bereave('echo before; sleep 2; echo after')
    const engine = nextEngine()
    const collecting = collect(engine, task, handle)
    expect(await engine.sweep(() => false)).toBe(0)
    expect((await collecting).stdout).toBe('before\nafter\n')
  })

  test('stays until its end is recorded, but the answer does not', async () => {
    const { task, handle } = await bereave('echo done', 'exited')
    const { promise: recorded, resolve } = Promise.withResolvers<undefined>()
    const engine = nextEngine()
    const { result } = await collect(engine, task, handle, { recorded })
    expect(result).toMatchObject({ kind: 'exited', exitCode: 0 })
    await sleep(1_000)
    expect(await find(handle.name)).toBeDefined()
    const sweeping = engine.sweep((id) => id !== task.invocationId)
    await sleep(200)
    expect(await find(handle.name)).toBeDefined()
    resolve(undefined)
    expect(await sweeping).toBe(0)
    await whenGone(handle.name)
  })

  test('is lost if its container is gone', async () => {
    const { task, handle } = await bereave('echo begun; sleep 60')
    await docker('rm', '--force', handle.name)
    const { result } = await collect(nextEngine(), task, handle)
    expect(result).toMatchObject({ kind: 'lost' })
    expect(JSON.stringify(result)).toContain('its container was gone')
  })

  test('is ended when it is abandoned', async () => {
    const { handle } = await bereave('echo begun; sleep 60')
    const engine = nextEngine()
    await engine.abandon(handle)
    expect(await find(handle.name)).toBeUndefined()
    await engine.abandon(handle)
  })

  test('but had not placed has certainly not run', async () => {
    const task = shellTask('echo ran; sleep 60', { gated })
    const doomed = await startDoomed(task, { armed, hangsPlacing: true })
    await doomed.kill()
    const { result, stdout } = await collect(nextEngine(), task, doomed.handle)
    expect([result, stdout]).toEqual(['never_ran', ''])
    expect(await find(doomed.handle.name)).toBeUndefined()
  })

  test('has had all of the input that was delivered', async () => {
    const task = shellTask('echo begun; sleep 1; wc -c', { gated })
    const doomed = await startDoomed(task, { armed, inputBytes: 50_000 })
    await doomed.hears('delivered')
    await doomed.kill()
    const { stdout } = await collect(nextEngine(), task, doomed.handle)
    expect(stdout).toBe('begun\n50000\n')
    const slow = shellTask('echo begun; sleep 60', { gated })
    const stuck = await startDoomed(slow, { armed, inputBytes: 20_000_000 })
    await stuck.hears('stdout')
    await expect(Promise.race([stuck.hears('delivered'), sleep(500)])).resolves.toBe('asleep')
    await stuck.kill()
    await nextEngine().abandon(stuck.handle)
  })
})

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms, 'asleep'))

test('a gate that has not even got its nonce has run nothing', async () => {
  const name = `oneshot-${crypto.randomUUID()}`
  const label = `oneshot.gateway=${gatewayId}`
  const task = shellTask('echo ran', { gated: true })
  await docker(
    'run',
    '--log-driver=local',
    '--name',
    name,
    '--label',
    label,
    'busybox:stable',
    'true',
  )
  const handle: TaskHandle = { name, nonce: 'none', start: 'cold', placedAt: Date.now() }
  expect((await collect(nextEngine(), task, handle)).result).toBe('never_ran')
  expect(await find(name)).toBeUndefined()
})

test('a command that is not there is told by its name', async () => {
  const task = shellTask('', { gated: true, container: { command: ['nosuch'] } })
  const doomed = await startDoomed(task)
  await doomed.kill()
  const { result } = await collect(nextEngine(), task, doomed.handle)
  expect(result).toMatchObject({ kind: 'not_started', failure: { code: 'command_not_found' } })
  expect(JSON.stringify(result)).toContain('nosuch')
})

test('a tty has its output at its end', async () => {
  const task = shellTask('echo before; sleep 1; echo after', { container: { tty: true } })
  const doomed = await startDoomed(task)
  await doomed.hears('stdout')
  await doomed.kill()
  const { result, stdout } = await collect(nextEngine(), task, doomed.handle)
  expect([(result as TaskResult).kind, stdout]).toEqual(['exited', 'before\r\nafter\r\n'])
})

test('the end of a log that is followed is never missed', async () => {
  const engine = nextEngine()
  for (let turn = 0; turn < 12; turn += 1) {
    const task = shellTask('echo begun; seq 3000; printf end', { gated: turn % 2 === 0 })
    const doomed = await startDoomed(task)
    await doomed.hears('stdout')
    await doomed.kill()
    const { stdout } = await collect(engine, task, doomed.handle)
    expect(stdout).toMatch(/^begun\n1\n2\n[\d\n]+\n2999\n3000\nend$/)
  }
})

describe('a task that', () => {
  const run = (engine: Engine, task: Task, placed: (handle: TaskHandle) => Promise<void>) => {
    const stdout: string[] = []
    const io = {
      stdin: undefined,
      stdout: (chunk: Uint8Array) => void stdout.push(String(Buffer.from(chunk))),
      stderr: () => {},
      placed,
    }
    return { stdout, result: engine.run(task, io, never) }
  }

  test.each(kinds)('can not be placed is not run ($kind)', async ({ gated, armed }) => {
    const engine = nextEngine()
    const task = shellTask('echo ran', { gated })
    if (armed) await arm(engine, task)
    let name = ''
    const { result, stdout } = run(engine, task, (handle) => {
      name = handle.name
      return Promise.reject(new RangeError('full'))
    })
    await expect(result).rejects.toThrow(new RangeError('full'))
    expect(stdout).toEqual([])
    engine.arm(task.spec, 0)
    await whenGone(name)
  })
})

test('a task that is run leaves what it left until its end is recorded', async () => {
  const engine = nextEngine()
  const task = shellTask('echo ran')
  const { promise: recorded, resolve } = Promise.withResolvers<undefined>()
  const io = { stdin: undefined, stdout: () => {}, stderr: () => {}, recorded }
  expect(await engine.run(task, io, never)).toMatchObject({ kind: 'exited', exitCode: 0 })
  const name = `oneshot-${task.invocationId}`
  await sleep(1_000)
  expect((await find(name))?.State.Status).toBe('exited')
  resolve(undefined)
  await whenGone(name)
})

test('a container whose start is under way has either run or never will', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-marks-'))
  const ran: string[] = []
  const ends = new Set<string>()
  for (let turn = 0; turn < 8; turn += 1) {
    const task = shellTask('')
    const name = `oneshot-${task.invocationId}`
    const options = ['--log-driver=local', '--network=none', `--volume=${folder}:/marks`]
    const label = `--label=oneshot.gateway=${gatewayId}`
    const command = ['busybox:stable', 'touch', `/marks/${name}`]
    await docker('create', ...options, label, '--name', name, ...command)
    const starting = client
      .getContainer(name)
      .start()
      .catch(() => {})
    await sleep(turn * 2)
    const handle: TaskHandle = { name, start: 'cold', placedAt: Date.now() }
    const { result } = await collect(nextEngine(), task, handle)
    await starting
    await whenGone(name)
    ends.add(result === 'never_ran' ? result : result.kind)
    if (result !== 'never_ran') ran.push(name)
  }
  expect((await readdir(folder)).toSorted()).toEqual(ran.toSorted())
  expect([...ends].filter((end) => !['never_ran', 'exited'].includes(end))).toEqual([])
  await rm(folder, { recursive: true })
})

async function arm(engine: Engine, { spec }: Task): Promise<void> {
  engine.arm(spec, 1)
  const isReady = () => Promise.resolve(engine.armed()[0]?.ready === 1)
  await eventually(isReady, (ready) => ready)
}

describe('an engine that is closed', () => {
  test('leaves what runs alone, also if the network namespace was its own', async () => {
    const script = `echo begun; sleep 4; cat /etc/hosts | grep -c localhost; echo hi | nc -l -p 9999 &
sleep 0.5; nc 127.0.0.1 9999 </dev/null; echo end`
    const task = shellTask(script, { gated: true })
    // The first ones have theirs made.
    const first = startContainerEngine(gatewayId, 4)
    engines.push(first)
    const io = { stdin: undefined, stdout: () => {}, stderr: () => {} }
    const quick = shellTask('true', { gated: true })
    await eventually(
      async () => {
        let mode: string | undefined
        const placed = async ({ name }: TaskHandle) => {
          mode = (await find(name))?.HostConfig.NetworkMode
        }
        const invocationId = crypto.randomUUID()
        await first.run({ ...quick, invocationId }, { ...io, placed }, never)
        await whenGone(`oneshot-${invocationId}`)
        return mode
      },
      (mode) => mode?.startsWith('container:') === true,
    )
    const lines: string[] = []
    const { promise: placed, resolve } = Promise.withResolvers<TaskHandle>()
    const stdout = (chunk: Uint8Array) => void lines.push(String(Buffer.from(chunk)))
    const running = first.run(
      task,
      { ...io, stdout, placed: (handle) => Promise.resolve(resolve(handle)) },
      never,
    )
    const { name } = await placed
    await eventually(
      () => Promise.resolve(lines),
      (printed) => printed.length > 0,
    )
    const info = await find(name)
    expect(info?.HostConfig.NetworkMode).toMatch(/^container:/)
    await arm(first, shellTask('true', { gated: true }))
    await first.close()
    const left = await ours()
    expect(left.map(({ Names }) => Names[0])).toEqual([`/${name}`])
    expect(await running).toMatchObject({ kind: 'exited', exitCode: 0 })
    expect(lines.join('')).toMatch(/^begun\n[1-9]\nhi\nend\n$/)
    await whenGone(name)
  })
})
