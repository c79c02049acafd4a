import { Readable } from 'node:stream'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { TaskProgress } from '../../../src/core/task.ts'
import type { StopReason } from '../../../src/core/outcome.ts'
import { createStop } from '../../../src/gateway/live.ts'
import { createFollower } from '../../../src/engine/swarm/follow.ts'
import type { SwarmTask } from '../../../src/engine/swarm/task.ts'
import { functionSpec } from '../../function-spec.ts'

const CREATED_AT = '2026-11-21T10:00:00Z'
/** After which a task that runs is looked into. */
const MOMENT_MS = 300
const LIMITS = { pendingMs: 10_000, preparingMs: 20_000, leaseMs: 60_000 }

type Status = SwarmTask['Status']

function toTask(State: string, more: Partial<Status> & { desired?: string } = {}): SwarmTask {
  const { desired = 'running', ...status } = more
  const Timestamp = '2026-11-21T10:00:01Z'
  return {
    ID: 't',
    ServiceID: 's',
    ...(State === 'pending' ? {} : { NodeID: 'n' }),
    CreatedAt: CREATED_AT,
    UpdatedAt: CREATED_AT,
    DesiredState: desired,
    Status: { Timestamp, State, ...status },
  }
}

const exit = (ExitCode: number) => ({ ContainerStatus: { ContainerID: 'c', ExitCode } })

/** Follows a task whose changes the test tells one by one; `changes` are its node's, each time that it is asked. */
function start({
  changes = [0],
  logs = '',
  isLogBroken = false,
  isOomKilled = false,
  networkMode = 'bridge',
  stdout = (): void | Promise<void> => {},
} = {}) {
  const queue: (SwarmTask | 'gone')[] = []
  let wake = () => {}
  const stops: string[] = []
  const progress: TaskProgress[] = []
  const follow = createFollower({
    managers: {
      ask: () => Promise.reject(new Error('not asked')),
      openStream: () =>
        isLogBroken ? Promise.reject(new Error('no node')) : Promise.resolve(Readable.from([logs])),
      current: () => undefined as never,
      engines: [],
    },
    services: {
      stop: async (name: string) => void stops.push(name),
    } as never,
    nodes: {
      list: async () => [],
      findName: async () => 'worker',
      findChange: async () => (changes.length > 1 ? changes.shift() : changes[0]),
      isOomKilled: async () => isOomKilled,
    },
    tasks: {
      async *watch(_id, signal) {
        signal.addEventListener('abort', () => wake())
        while (!signal.aborted) {
          const next = queue.shift()
          if (next !== undefined) yield next
          else {
            await new Promise<void>((resolve) => {
              wake = resolve
            })
          }
        }
      },
      wake() {},
      list: async () => [],
    },
    limits: LIMITS,
    clock: Date.now,
  })
  const stop = createStop()
  const spec = functionSpec({ container: { tty: true, networkMode } })
  const ended = follow({
    id: 's',
    name: 'oneshot-i',
    task: { invocationId: 'i', attempt: 1, spec, container: spec.container },
    io: { stdout, stderr() {}, progress: (it) => void progress.push(it) },
    stop: stop.signal,
  })
  let isOver = false
  void ended.finally(() => {
    isOver = true
  })
  return {
    ended,
    stops,
    progress,
    isOver: () => isOver,
    stop: (reason: StopReason) => stop.stop(reason),
    async tell(...states: (SwarmTask | 'gone')[]) {
      queue.push(...states)
      wake()
      await vi.advanceTimersByTimeAsync(0)
    },
  }
}

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse(CREATED_AT) })
  return () => vi.useRealTimers()
})

describe('a task that waits for a node', () => {
  test('tells why, and once it has one, which', async () => {
    const { tell, progress, ended } = start()
    await tell(toTask('pending', { Err: 'no suitable node' }))
    await tell(toTask('preparing'))
    await tell(toTask('complete', exit(0)))
    await ended
    expect(progress).toEqual([{ waitingFor: 'no suitable node' }, { node: 'worker' }])
  })

  test('is given up after its limit, with the reason', async () => {
    const { tell, ended, isOver, stops } = start()
    await tell(toTask('pending', { Err: 'no suitable node (insufficient resources on 3 nodes)' }))
    await vi.advanceTimersByTimeAsync(LIMITS.pendingMs - 1)
    expect([isOver(), stops]).toEqual([false, []])
    await vi.advanceTimersByTimeAsync(1)
    expect(stops).toEqual(['oneshot-i'])
    await tell(toTask('pending', { desired: 'shutdown' }))
    expect((await ended).end).toMatchObject({
      kind: 'not_started',
      failure: {
        code: 'unschedulable',
        detail: expect.stringContaining('insufficient resources on 3 nodes') as string,
      },
    })
  })

  test('and has got one as it was given up is lost if it may have run', async () => {
    const { tell, ended } = start()
    await tell(toTask('pending'))
    await vi.advanceTimersByTimeAsync(LIMITS.pendingMs)
    await tell(toTask('running', { desired: 'shutdown' }))
    await tell(toTask('shutdown', { desired: 'shutdown', Message: 'shutdown', ...exit(143) }))
    expect((await ended).end.kind).toBe('lost')
  })

  test('is stopped', async () => {
    const { tell, ended, stop, stops } = start()
    await tell(toTask('pending'))
    stop('cancelled')
    await vi.advanceTimersByTimeAsync(0)
    await tell(toTask('pending', { desired: 'shutdown' }))
    const { end, startedAt } = await ended
    expect(end).toEqual({ kind: 'stopped', by: 'cancelled', exitCode: null })
    expect([startedAt, stops]).toEqual([undefined, ['oneshot-i']])
  })
})

test('a task that its node does not make ready is given up after its limit', async () => {
  const { tell, ended } = start()
  await tell(toTask('preparing'))
  await vi.advanceTimersByTimeAsync(LIMITS.preparingMs)
  await tell(toTask('shutdown', { desired: 'shutdown', Message: 'shutdown' }))
  expect((await ended).end).toMatchObject({
    kind: 'not_started',
    failure: { code: 'engine_failed' },
  })
})

describe('a task whose node has gone', () => {
  const missing = toTask('running', { desired: 'shutdown' })

  test('is lost once its lease is over, and not before', async () => {
    const { tell, ended, isOver } = start()
    await tell(toTask('running'), missing)
    await vi.advanceTimersByTimeAsync(LIMITS.leaseMs - 1)
    expect(isOver()).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect((await ended).end.kind).toBe('lost')
  })

  test.each([0, 1, 3, 66])('has its true end told within the lease: %d', async (exitCode) => {
    const { tell, ended } = start()
    const state = exitCode === 0 ? 'complete' : 'failed'
    await tell(toTask('running'), missing)
    await vi.advanceTimersByTimeAsync(LIMITS.leaseMs / 2)
    await tell(toTask(state, { desired: 'shutdown', Message: 'started', ...exit(exitCode) }))
    expect((await ended).end).toEqual({ kind: 'exited', exitCode, oomKilled: false })
  })

  test.each([137, 143, 255])('is lost if it comes back with the exit code %d', async (exitCode) => {
    const { tell, ended } = start()
    await tell(toTask('running'), missing)
    await tell(toTask('failed', { desired: 'shutdown', Message: 'started', ...exit(exitCode) }))
    expect((await ended).end.kind).toBe('lost')
  })
})

describe.each([137, 143, 255])('a task that ended with %d', (exitCode) => {
  const failed = toTask('failed', { Message: 'started', ...exit(exitCode) })

  test('has it told if its node was there all the time', async () => {
    const { tell, ended } = start({ changes: [Date.parse(CREATED_AT) - 1] })
    await tell(failed)
    expect((await ended).end).toEqual({ kind: 'exited', exitCode, oomKilled: false })
  })

  test('has it told though its network changed its node before it ran', async () => {
    const { tell, ended } = start({ changes: [Date.parse(CREATED_AT) + 500] })
    await tell(toTask('running'))
    await vi.advanceTimersByTimeAsync(MOMENT_MS)
    await tell(failed)
    expect((await ended).end).toEqual({ kind: 'exited', exitCode, oomKilled: false })
  })

  test('has it told though its run was over before it was seen', async () => {
    const { tell, ended } = start({ changes: [Date.parse(CREATED_AT) + 500] })
    await tell(toTask('preparing'), failed)
    expect((await ended).end).toEqual({ kind: 'exited', exitCode, oomKilled: false })
  })

  test('is lost if its node was changed, and nobody saw it begin', async () => {
    const { tell, ended } = start({ changes: [Date.parse(CREATED_AT) + 500] })
    await tell(failed)
    expect((await ended).end.kind).toBe('lost')
  })

  test("has it told though its overlay network's end changed its node", async () => {
    const changedAt = Date.parse(CREATED_AT)
    const changes = [changedAt, changedAt + 5_000]
    const { tell, ended } = start({ changes, networkMode: 'none' })
    await tell(toTask('running'))
    await vi.advanceTimersByTimeAsync(MOMENT_MS)
    await tell(failed)
    expect((await ended).end).toEqual({ kind: 'exited', exitCode, oomKilled: false })
  })

  test('is lost on an overlay network if its node had changed by then', async () => {
    const changedAt = Date.parse(CREATED_AT)
    const changes = [changedAt, changedAt + 5_000]
    const { tell, ended } = start({ changes, networkMode: 'none' })
    await tell(toTask('running'))
    await vi.advanceTimersByTimeAsync(MOMENT_MS)
    await tell({ ...failed, UpdatedAt: '2026-11-21T10:00:06Z' })
    expect((await ended).end.kind).toBe('lost')
  })

  test('has it told though something changed its node long before it ended', async () => {
    const changedAt = Date.parse(CREATED_AT)
    const { tell, ended } = start({ changes: [changedAt, changedAt + 5_000] })
    const Timestamp = '2026-11-21T10:01:00Z'
    await tell(toTask('running'))
    await vi.advanceTimersByTimeAsync(MOMENT_MS)
    await tell({ ...failed, Status: { ...failed.Status, Timestamp } })
    expect((await ended).end).toEqual({ kind: 'exited', exitCode, oomKilled: false })
  })

  test('is lost if its node went and came back meanwhile', async () => {
    const changedAt = Date.parse(CREATED_AT) + 500
    const { tell, ended } = start({ changes: [changedAt, changedAt + 5_000] })
    await tell(toTask('running'))
    await vi.advanceTimersByTimeAsync(MOMENT_MS)
    await tell(failed)
    expect((await ended).end.kind).toBe('lost')
  })
})

test('a task that ran out of memory has that told, if the engine of its node can be asked', async () => {
  const { tell, ended } = start({ isOomKilled: true })
  await tell(toTask('running'), toTask('failed', { Message: 'started', ...exit(137) }))
  expect((await ended).end).toEqual({ kind: 'exited', exitCode: 137, oomKilled: true })
})

describe('a running task', () => {
  test('that is stopped gives its exit code once it has ended', async () => {
    const { tell, ended, stop } = start()
    await tell(toTask('running'))
    stop('timed_out')
    await tell(toTask('running', { desired: 'shutdown', ...exit(-1) }))
    await tell(toTask('shutdown', { desired: 'shutdown', ...exit(7) }))
    expect((await ended).end).toEqual({ kind: 'stopped', by: 'timed_out', exitCode: 7 })
  })

  test('that does not report its end after a stop is given up', async () => {
    const { tell, ended, stop } = start()
    await tell(toTask('running'))
    stop('timed_out')
    await vi.advanceTimersByTimeAsync(10_000 + 15_000)
    expect((await ended).end).toEqual({ kind: 'stopped', by: 'timed_out', exitCode: null })
  })

  test.each(['shutdown', 'failed'])(
    'that is stopped ends though nobody takes its output: %s',
    async (state) => {
      const stdout = () => new Promise<void>(() => {})
      const { tell, ended, stop } = start({ logs: 'much', stdout })
      await tell(toTask('running'))
      stop('timed_out')
      await vi.advanceTimersByTimeAsync(0)
      await tell(toTask(state, { desired: 'shutdown', Message: 'started', ...exit(7) }))
      await vi.advanceTimersByTimeAsync(10_000)
      expect((await ended).end).toEqual({ kind: 'stopped', by: 'timed_out', exitCode: 7 })
    },
  )

  test('whose service is removed by someone is lost', async () => {
    const { tell, ended } = start()
    await tell(toTask('running'), 'gone')
    expect((await ended).end.kind).toBe('lost')
  })

  test('that has ended, but whose output nobody hands over, is lost, and says how it ended', async () => {
    const { tell, ended } = start({ isLogBroken: true })
    await tell(toTask('running'), toTask('failed', { Message: 'started', ...exit(3) }))
    expect((await ended).end).toMatchObject({
      kind: 'lost',
      failure: { detail: expect.stringContaining('exit code 3') as string },
    })
  })
})

test('a task that a former process has stopped is told of as stopped', async () => {
  const { tell, ended, stop } = start()
  stop('cancelled')
  await tell(toTask('shutdown', { desired: 'shutdown', Message: 'shutdown', ...exit(143) }))
  expect((await ended).end).toEqual({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
})

test('a task that had ended when its gateway came to stop it has its end told', async () => {
  const { tell, ended, stop, stops } = start()
  stop('timed_out')
  await tell(toTask('complete', exit(0)))
  expect((await ended).end).toEqual({ kind: 'exited', exitCode: 0, oomKilled: false })
  expect(stops).toEqual([])
})

test.each([0, 4])(
  'a task that ended by itself (%d) while it was told to stop has that told',
  async (code) => {
    const { tell, ended, stop } = start()
    await tell(toTask('running'))
    stop('timed_out')
    await vi.advanceTimersByTimeAsync(0)
    await tell(toTask(code === 0 ? 'complete' : 'failed', { Message: 'started', ...exit(code) }))
    expect((await ended).end).toEqual({ kind: 'exited', exitCode: code, oomKilled: false })
  },
)
