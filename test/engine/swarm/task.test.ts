import { describe, expect, test } from 'vitest'
import type { SwarmTask } from '../../../src/engine/swarm/task.ts'
import { toProgress } from '../../../src/engine/swarm/task.ts'

function task(
  State: string,
  {
    DesiredState = 'running',
    ...status
  }: Partial<SwarmTask['Status']> & { DesiredState?: string } = {},
): SwarmTask {
  const Status = { Timestamp: '2026-11-21T00:00:00Z', State, ...status }
  const { Timestamp } = Status
  const times = { CreatedAt: Timestamp, UpdatedAt: Timestamp }
  return { ID: 't', ServiceID: 's', ...times, DesiredState, Status }
}

describe('a swarm task', () => {
  test.each(['new', 'pending'])(
    'that is %s waits, for the reason that the managers give',
    (state) => {
      const Err = 'no suitable node (insufficient resources on 1 node)'
      expect(toProgress(task(state, { Err }))).toEqual({ kind: 'pending', reason: Err })
    },
  )

  test.each(['assigned', 'accepted', 'preparing', 'ready', 'starting'])(
    'that is %s is being prepared',
    (state) => {
      expect(toProgress(task(state))).toEqual({ kind: 'preparing' })
    },
  )

  test('whose node has gone is missing, though it says that it runs', () => {
    expect(toProgress(task('running'))).toEqual({ kind: 'running' })
    expect(toProgress(task('running', { DesiredState: 'shutdown' }))).toEqual({ kind: 'missing' })
  })

  test('that failed has the exit code of its command', () => {
    const failed = task('failed', {
      Message: 'started',
      Err: 'task: non-zero exit (3)',
      ContainerStatus: { ExitCode: 3 },
    })
    expect(toProgress(failed)).toMatchObject({
      kind: 'ended',
      end: { kind: 'exited', exitCode: 3 },
    })
  })

  test('that the managers have taken from its node is lost: its container may go on', () => {
    const evicted = task('rejected', {
      DesiredState: 'shutdown',
      Err: 'assigned node no longer meets constraints',
    })
    expect(toProgress(evicted)).toMatchObject({ kind: 'ended', end: { kind: 'lost' } })
  })

  test('whose container was gone when its engine came back is lost, and not a success', () => {
    const failed = task('failed', {
      DesiredState: 'shutdown',
      Message: 'started',
      Err: 'No such container: oneshot-0.1.abc',
      ContainerStatus: { ContainerID: 'c', ExitCode: 0 },
    })
    expect(toProgress(failed)).toMatchObject({ kind: 'ended', end: { kind: 'lost' } })
  })

  test.each([
    ['failed', 'exec: "nothing": executable file not found in $PATH', 'command_not_found', 127],
    ['failed', 'unable to find user nobody-there', 'container_refused', 128],
    ['rejected', 'No such image: nothing:latest', 'image_not_found', 0],
    [
      'rejected',
      'invalid mount config for type "bind": bind source path does not exist: /x',
      'mount_not_found',
      0,
    ],
  ] as const)('that is %s before its start (%s) has not run', (state, Err, code, ExitCode) => {
    const ended = task(state, {
      Message: state === 'failed' ? 'starting' : 'preparing',
      Err,
      ContainerStatus: { ExitCode },
    })
    expect(toProgress(ended)).toMatchObject({ end: { kind: 'not_started', failure: { code } } })
  })

  test.each(['shutdown', 'remove', 'orphaned'])('that is %s by itself is lost', (state) => {
    expect(toProgress(task(state))).toMatchObject({ end: { kind: 'lost' } })
  })

  test('whose exit code is that of a shutdown on its way is not reported by it', () => {
    const running = task('running', { ContainerStatus: { ExitCode: -1 } })
    expect(toProgress(running)).toEqual({ kind: 'running' })
  })
})
