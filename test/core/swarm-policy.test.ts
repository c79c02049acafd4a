import { expect, test } from 'vitest'
import { checkSwarm } from '../../src/core/swarm-policy.ts'
import { functionSpec } from '../function-spec.ts'

const keysOf = (container: Parameters<typeof functionSpec>[0] = {}) =>
  checkSwarm(functionSpec(container)).map(({ path }) => path.join('.'))

test('what swarm can do is not refused', () => {
  for (const networkMode of ['none', 'host', 'bridge']) {
    expect(keysOf({ container: { networkMode } })).toEqual([])
  }
})

test.each([
  ['privileged', { privileged: true }],
  ['pid', { pid: 'host' }],
  ['network_mode', { networkMode: 'container:db' }],
  ['networks', { networks: [{ name: 'n', aliases: [], ipv4Address: '10.0.0.2' }] }],
  ['devices', { devices: [{ source: '/dev/fuse', target: '/dev/fuse', permissions: 'rwm' }] }],
  ['runtime', { runtime: 'nvidia' }],
  ['shm_size', { shmBytes: 1 }],
] as const)('%s is refused with its reason', (key, container) => {
  expect(keysOf({ container })).toEqual([key])
  expect(checkSwarm(functionSpec({ container }))[0]?.message).toContain('ONESHOT_BACKEND=swarm')
})
