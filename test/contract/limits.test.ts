import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { docker } from '../docker/docker-client.ts'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, shell, startGateway } from './gateway.ts'

const functions = {
  oom: shell('x=xxxxxxxx; while :; do x=$x$x; done', 'mem_limit: 16m'),
  'oom-input': shell('cat; x=xxxxxxxx; while :; do x=$x$x; done', 'mem_limit: 16m'),
  survivor: shell('sh -c "x=xxxxxxxx; while :; do x=\\$x\\$x; done"; exit 5', 'mem_limit: 16m'),
  killed: shell('trap "" TERM; kill -KILL $$; sleep 9', 'init: true'),
  bomb: shell(
    'f() { f | f & }; f; i=0; while [ $i -lt 300 ]; do sleep 5 & i=$((i+1)); done; echo survived',
    'pids_limit: 20\ntimeout: 20s',
  ),
  neighbour: shell('echo fine'),
  rights: shell('grep -E "Cap(Eff|Prm|Bnd)|NoNewPrivs" /proc/self/status'),
  added: shell('grep CapBnd /proc/self/status', 'cap_add: [NET_BIND_SERVICE, CAP_CHOWN]'),
  memory: shell(
    'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null',
    'mem_limit: 64m',
  ),
  files: shell('ulimit -n; ulimit -Hn', 'ulimits: { nofile: { soft: 100, hard: 200 } }'),
}

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway({ functions })
})
afterAll(() => gateway?.stop())

describe.concurrent('limits', () => {
  test.each([
    ['oom', null],
    ['oom-input', 'read'],
  ])('of memory end a command with reason oom_killed (%s)', async (name, body) => {
    expect(await gateway.envelope(name, { body })).toMatchObject({
      status: 200,
      reason: 'oom_killed',
      exitCode: 137,
      state: 'failed',
      stdout: body ?? '',
    })
  })

  test('of memory that only a child passed leave the command its own end', async () => {
    expect(await gateway.envelope('survivor')).toMatchObject({ reason: 'exited', exitCode: 5 })
  })

  test('of memory are not blamed for another kill', async () => {
    expect(await gateway.envelope('killed')).toMatchObject({ reason: 'exited', exitCode: 137 })
  })

  test('of processes hold a fork bomb', async () => {
    const [bomb, neighbour] = await Promise.all([
      gateway.envelope('bomb'),
      gateway.envelope('neighbour'),
    ])
    expect(neighbour.stdout).toBe('fine\n')
    expect(bomb.stderr).toMatch(/can't fork/)
    await nothingLeft('bomb')
  })

  test('of memory and of open files are those of the definition', async () => {
    expect((await gateway.envelope('memory')).stdout).toBe(`${64 * 1024 ** 2}\n`)
    expect((await gateway.envelope('files')).stdout).toBe('100\n200\n')
  })
})

describe.concurrent('privileges', () => {
  test('are none unless the definition says otherwise', async () => {
    const { stdout } = await gateway.envelope('rights')
    for (const name of ['CapEff', 'CapPrm', 'CapBnd']) {
      expect(stdout).toContain(`${name}:\t0000000000000000`)
    }
  })

  test('are those that the definition adds', async () => {
    // Bits 0 and 10.
    expect((await gateway.envelope('added')).stdout).toBe('CapBnd:\t0000000000000401\n')
  })

  // Swarm has had a word for it since API 1.44 only.
  test('are never gained, but by a task of an engine before 25', async () => {
    const version = await docker('version', '--format', '{{.Server.APIVersion}}')
    const minor = Number(version.split('.')[1])
    const isHeld = engine === 'container' || minor >= 44
    const { stdout } = await gateway.envelope('rights')
    expect(stdout).toContain(`NoNewPrivs:\t${isHeld ? 1 : 0}`)
  })
})
