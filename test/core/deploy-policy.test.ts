import { expect, test } from 'vitest'
import { parseDeployPolicy } from '../../src/core/deploy-policy.ts'
import { defaults } from './deployed-definition.ts'

const parse = (written: unknown) =>
  parseDeployPolicy(written, { defaults, secretsFolder: '/run/secrets' })
const problemsOf = (written: unknown) =>
  (parse(written).problems ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)

test('a policy that says nothing allows what no other function or host is concerned by', () => {
  expect(parse({}).policy).toEqual({
    images: [{ registry: '*', rest: '*' }],
    mounts: [],
    volumes: [],
    networks: ['none', 'bridge'],
    secrets: [],
    configs: [],
    labels: [],
    capabilities: [],
    environment: [],
    isPublicAllowed: false,
    limits: {
      timeoutMs: defaults.maxTimeoutMs,
      memoryBytes: defaults.memoryBytes,
      cpus: Infinity,
      pids: defaults.pids,
      inputBytes: defaults.inputBytes,
      outputBytes: defaults.outputBytes,
      logBytes: defaults.logBytes,
      concurrency: Infinity,
      everyMs: 10_000,
      warm: 4,
      retries: 3,
    },
    secretsFolder: '/run/secrets',
  })
})

test('paths and capabilities are read as the engine reads them', () => {
  const written = { mounts: ['/var/run/app:ro', '/srv/data'], capabilities: ['cap_net_raw'] }
  expect(parse(written).policy).toMatchObject({
    mounts: [
      { path: '/run/app', readOnly: true },
      { path: '/srv/data', readOnly: false },
    ],
    capabilities: ['NET_RAW'],
  })
})

test('limits have units, and no timeout passes the longest of all', () => {
  const limits = { timeout: '100d', memory: '2g', logs: '1m', cpus: 0.5, warm: 0 }
  expect(problemsOf({ limits })).toEqual(['limits.timeout: expected at most 24d'])
  expect(parse({ limits: { ...limits, timeout: '20d' } }).policy?.limits).toMatchObject({
    timeoutMs: defaults.maxTimeoutMs,
    memoryBytes: 2 * 1024 ** 3,
    logBytes: 1024 ** 2,
    cpus: 0.5,
    warm: 0,
  })
})

test.each([
  [{ image: ['busybox'] }, 'image: unknown key'],
  [{ images: 'busybox' }, 'images: expected a list of patterns, got "busybox"'],
  // A list whose items have been commented out: not to be taken for one that allows everything.
  [{ images: null }, 'images: expected a value, got nothing: write [] for none'],
  [{ limits: { memory: null } }, 'limits.memory: expected a value, got nothing'],
  [{ images: ['*/tool'] }, 'images.0: expected a pattern such as'],
  [{ mounts: ['data'] }, 'mounts.0: expected an absolute path'],
  [{ mounts: ['~/data'] }, 'mounts.0: expected an absolute path'],
  [{ mounts: ['/srv/../etc'] }, 'mounts.0: expected an absolute path'],
  [{ mounts: ['/srv//data'] }, 'mounts.0: expected an absolute path'],
  [{ mounts: ['/srv/*'] }, 'mounts.0: expected an absolute path'],
  [{ mounts: ['/srv/data:rw'] }, 'mounts.0: expected an absolute path'],
  [{ mounts: ['/srv', '/srv/data'] }, 'mounts.1: stands within /srv, which may be written in'],
  [{ mounts: ['/srv/data:ro', '/srv'] }, 'mounts.0: stands within /srv, which may be written in'],
  [{ capabilities: ['SYS_ADMIN'] }, 'capabilities.0: SYS_ADMIN is a way out of the container'],
  [{ capabilities: ['all'] }, 'capabilities.0: ALL is a way out of the container'],
  [{ environment: ['*'] }, 'environment.0: expected the name of a variable'],
  [{ limits: { memory: '1k' } }, 'limits.memory: expected a size'],
  [{ limits: { output: '1g' } }, 'limits.output: expected at most 64m'],
])('%j is refused', (written, problem) => {
  expect(problemsOf(written)).toEqual([expect.stringContaining(problem)])
})
