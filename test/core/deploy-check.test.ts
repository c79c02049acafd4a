import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDefinition } from '../../src/core/definition/definition.ts'
import { toTriggers } from '../../src/core/definition/trigger.ts'
import { deploy } from './deployed-definition.ts'

const placesOf = (written: object, policy: object = {}) =>
  deploy(written, policy).problems.map(({ path }) => path.join('.'))

test('a function that asks for nothing special is taken without a policy', () => {
  const written = {
    command: ['echo', 'hi'],
    environment: { A: 'b' },
    network_mode: 'none',
    tmpfs: ['/tmp'],
    volumes: ['/cache'],
    user: '1000',
    hostname: 'me',
    read_only: true,
    deploy: {
      resources: { limits: { memory: '64m', cpus: 1 } },
      placement: { constraints: ['a==b'] },
    },
    ulimits: { nofile: 1024 },
    extra_hosts: ['db=10.0.0.5'],
    dns: '10.0.0.2',
    security_opt: ['no-new-privileges:true', 'seccomp=builtin'],
  }
  expect(deploy(written).problems).toEqual([])
})

/** What is asked for, where that is a problem, and the policy under which it is none. */
const asked: readonly (readonly [object, string, object])[] = [
  [{ image: 'evil/tool' }, 'image', { images: ['evil/*'] }],
  [{ volumes: ['/srv/data:/data'] }, 'volumes.0', { mounts: ['/srv/data'] }],
  [{ volumes: ['/srv/data/a:/data:ro'] }, 'volumes.0', { mounts: ['/srv/data:ro'] }],
  [{ volumes: ['cache:/cache'] }, 'volumes.0', { volumes: ['ca*'] }],
  [{ network_mode: 'web' }, 'network_mode', { networks: ['web'] }],
  [{ networks: ['web'] }, 'networks.web', { networks: ['w*'] }],
  [{ cap_add: ['CAP_NET_RAW'] }, 'cap_add.0', { capabilities: ['net_raw'] }],
  [{ secrets: ['token'] }, 'secrets.0', { secrets: ['tok*'] }],
  [{ configs: ['app'] }, 'configs.0', { configs: ['app'] }],
  [{ labels: { team: 'a' } }, 'labels.team', { labels: ['team'] }],
  [{ public: true }, 'public', { public: true }],
  [{ environment: ['REGION'] }, 'environment.REGION', { environment: ['REGION'] }],
  [{ env: { REGION: null } }, 'env.REGION', { environment: ['REGION'] }],
  [{ mem_limit: '1g' }, 'mem_limit', { limits: { memory: '1g' } }],
  [
    { deploy: { resources: { limits: { pids: 257 } } } },
    'deploy.resources.limits.pids',
    { limits: { pids: 300 } },
  ],
  [{ limits: { input: '2g' } }, 'limits.input', { limits: { input: '2g' } }],
  [{ limits: { output: '2m' } }, 'limits.output', { limits: { output: '2m' } }],
  [{ limits: { logs: '20m' } }, 'limits.logs', { limits: { logs: '20m' } }],
  [{ warm: 5 }, 'warm', { limits: { warm: 5 } }],
  [{ warm: { min: 5 } }, 'warm', { limits: { warm: 5 } }],
  [{ retries: 4 }, 'retries', { limits: { retries: 4 } }],
  [
    { triggers: [{ type: 'webhook', secrets: [{ env: 'HOOK' }] }] },
    'triggers.0.secrets.0.env',
    { environment: ['HOOK'] },
  ],
  [
    { triggers: [{ type: 'webhook', secrets: [{ file: '/run/secrets/hook-a' }] }] },
    'triggers.0.secrets.0.file',
    { secrets: ['hook-*'] },
  ],
]
const strict = { images: ['busybox:*'] }

test.each(asked)('%j is a problem at %s, unless it is allowed by %j', (written, place, policy) => {
  const before = 'image' in written ? strict : {}
  const { problems } = deploy(written, before)
  expect(problems.map(({ path }) => path.join('.'))).toEqual([place])
  expect(problems[0]?.message).toMatch(
    /the operator can allow it with [a-z.]+ in ONESHOT_DEPLOY_POLICY$/,
  )
  expect(deploy(written, { ...before, ...policy }).problems).toEqual([])
})

const everything = {
  mounts: ['/srv/data', '/:ro'],
  volumes: ['*'],
  networks: ['*'],
  secrets: ['*'],
  configs: ['*'],
  labels: ['*'],
  capabilities: ['NET_RAW'],
  environment: ['REGION'],
  public: true,
}

test.each([
  [{ privileged: true }, 'privileged'],
  [{ pid: 'host' }, 'pid'],
  [{ network_mode: 'host' }, 'network_mode'],
  [{ network_mode: 'container:other' }, 'network_mode'],
  [{ networks: ['host'] }, 'networks'],
  [{ networks: { web: { aliases: ['db'] } } }, 'networks.web'],
  [{ networks: { web: { ipv4_address: '10.0.0.5' } } }, 'networks.web'],
  [{ networks: ['web'], hostname: 'db' }, 'hostname'],
  [{ network_mode: 'web', hostname: 'db' }, 'hostname'],
  [{ runtime: 'other' }, 'runtime'],
  [{ devices: ['/dev/fuse'] }, 'devices'],
  [{ devices: ['vendor.example/gpu=0'] }, 'devices'],
  [{ gpus: 'all' }, 'deploy.resources.reservations.devices'],
  [{ sysctls: { 'net.core.somaxconn': 1 } }, 'sysctls'],
  [{ ulimits: { rtprio: 99 } }, 'ulimits.rtprio'],
  [{ ulimits: { memlock: -1 } }, 'ulimits.memlock'],
  [{ security_opt: ['no-new-privileges:false'] }, 'security_opt'],
  [{ security_opt: ['apparmor=unconfined'] }, 'security_opt'],
  [{ security_opt: ['apparmor=mine'] }, 'security_opt'],
  [{ security_opt: ['no-new-privileges=False'] }, 'security_opt'],
  [{ cap_add: ['SYS_ADMIN'] }, 'cap_add.0'],
  [{ cap_add: [' cap_sys_admin'] }, 'cap_add.0'],
  [{ cap_drop: [] }, 'cap_drop'],
  [{ cap_drop: ['CHOWN'] }, 'cap_drop'],
  [{ env_file: '/etc/hosts' }, 'env_file'],
  [{ volumes: ['./data:/data'] }, 'volumes.0'],
  [{ volumes: ['~/data:/data'] }, 'volumes.0'],
  [{ volumes: ['/etc:/data'] }, 'volumes.0'],
  [{ volumes: ['/var/run/docker.sock:/s:ro'] }, 'volumes'],
  [{ volumes: ['/proc:/p:ro'] }, 'volumes'],
  [{ volumes: ['/srv/data:/data:rshared'] }, 'volumes.0'],
  [{ volumes: ['/srv/data:/data:Z'] }, 'volumes.0'],
  [
    {
      volumes: [
        { type: 'volume', target: '/v', volume: { driver_opts: { type: 'nfs', device: ':/x' } } },
      ],
    },
    'volumes.0',
  ],
  [{ volumes: [{ type: 'volume', target: '/v', volume: { driver: 'rexray' } }] }, 'volumes.0'],
  [
    { volumes: [{ type: 'volume', target: '/v', volume: { labels: { 'oneshot.gateway': 'x' } } }] },
    'volumes.0',
  ],
  [{ labels: { 'oneshot.invocation': 'x' } }, 'labels.oneshot.invocation'],
  [{ labels: ['Oneshot.gateway=x'] }, 'labels.Oneshot.gateway'],
  [{ stop_grace_period: '1h' }, 'stop_grace_period'],
  [
    {
      deploy: {
        resources: {
          reservations: {
            generic_resources: [{ discrete_resource_spec: { kind: 'gpu', value: 1 } }],
          },
        },
      },
    },
    'deploy.resources.reservations.generic_resources',
  ],
  [{ triggers: [{ secrets: [{ file: '/etc/passwd' }] }] }, 'triggers.0.secrets.0.file'],
  [{ triggers: [{ secrets: [{ file: '/run/secrets/../x' }] }] }, 'triggers.0.secrets.0.file'],
  [{ triggers: [{ secrets: [{ file: '/run/secrets/a/b' }] }] }, 'triggers.0.secrets.0.file'],
  [{ triggers: [{ secrets: [{ file: 'hook' }] }] }, 'triggers.0.secrets.0.file'],
  [{ triggers: { secrets: { file: ['x'] } } }, 'triggers.0.secrets.0.file'],
])('%j is a problem at %s, whatever is allowed', (written, place) => {
  const policy = 'volumes' in written || 'mounts' in written ? mountable : everything
  expect(new Set(placesOf(written, policy))).toContain(place)
})

const mountable = { ...everything, mounts: ['/srv/data', '/proc:ro', '/run:ro', '/usr:ro'] }

test('what is left open is filled up to what is allowed, and not beyond', () => {
  const limits = {
    timeout: '10s',
    memory: '64m',
    cpus: 2,
    pids: 9,
    concurrency: 3,
    warm: 1,
    retries: 1,
  }
  expect(deploy({}, { limits })).toMatchObject({
    problems: [],
    spec: {
      timeoutMs: 10_000,
      concurrency: 3,
      warm: { min: 0, max: 1 },
      retries: { max: 1 },
      container: { limits: { memoryBytes: 64 * 1024 ** 2, cpus: 2, pids: 9 } },
    },
  })
  expect(placesOf({ timeout: '11s', cpus: 3, concurrency: 4 }, { limits })).toEqual([
    'timeout',
    'cpus',
    'concurrency',
  ])
  const reservations = { resources: { reservations: { cpus: 3 } } }
  expect(placesOf({ deploy: reservations }, { limits })).toEqual([
    'deploy.resources.reservations.cpus',
  ])
})

describe('a schedule', () => {
  const problemsOf = (written: object, every?: string) => {
    const { definition } = parseDefinition({
      image: 'i',
      triggers: [{ type: 'schedule', ...written }],
    })
    const triggers = toTriggers(
      definition?.triggers ?? [],
      { name: 'test', parameters: {} },
      new Map(),
      () => {},
    )
    expect(triggers).toHaveLength(1)
    return deploy({}, every === undefined ? {} : { limits: { every } }, triggers).problems
  }

  test.each([
    [{ every: '9s' }, '9s', 'every'],
    [{ cron: '* * * * * *' }, '1s', 'cron'],
    [{ cron: '*/5 * 3 1 2 *' }, '5s', 'cron'],
    [{ cron: '1-10 0-30 * * * *', timezone: 'Europe/Berlin' }, '1s', 'cron'],
  ])('of %j needs to be allowed, as by every: %s', (written, every, key) => {
    expect(problemsOf(written)).toEqual([
      {
        path: ['triggers', 0, key],
        message:
          'expected at least 10s from one tick to the next: the operator can allow it with limits.every in ONESHOT_DEPLOY_POLICY',
      },
    ])
    expect(problemsOf(written, every)).toEqual([])
  })

  test.each([{ every: '10s' }, { cron: '*/10 * * * * *' }, { cron: '0 0 29 2 *' }])(
    'of %j needs no leave',
    (written) => expect(problemsOf(written)).toEqual([]),
  )

  test('can be bounded further', () => {
    expect(problemsOf({ cron: '* * * * *' }, '1m')).toEqual([])
    expect(problemsOf({ cron: '0,59 * * * * *' }, '1m')).toHaveLength(1)
    expect(problemsOf({ every: '59s' }, '1m')).toHaveLength(1)
  })
})

test('a policy without networks leaves a function none', () => {
  expect(placesOf({ network_mode: 'none' }, { networks: [] })).toEqual([])
  expect(placesOf({}, { networks: [] })).toEqual(['network_mode'])
  expect(placesOf({ network_mode: 'default' }, { networks: ['default'] })).toEqual(['network_mode'])
})

test('a network that is named by what may be the beginning of its id has to be allowed by that name', () => {
  expect(placesOf({ network_mode: 'cafe' }, { networks: ['*'] })).toEqual(['network_mode'])
  expect(placesOf({ networks: ['0123456789ab'] }, { networks: ['*'] })).toEqual([
    'networks.0123456789ab',
  ])
  expect(placesOf({ network_mode: 'cafe' }, { networks: ['cafe'] })).toEqual([])
})

test('nothing is made on the host for a bind', () => {
  const { spec } = deploy({ volumes: ['/srv/data:/data'] }, { mounts: ['/srv/data'] })
  expect(spec.container.mounts).toMatchObject([{ type: 'bind', createHostPath: false }])
})

test.each([
  ['/srv/data', '/srv/data', true],
  ['/srv/data', '/srv//data/./', true],
  ['/srv/data', '/srv/x/../data', true],
  // Whoever writes in it may have put a link there.
  ['/srv/data', '/srv/data/link', false],
  ['/srv/data', '/srv/data/link:ro', false],
  ['/srv/data', '/srv/data2', false],
  ['/srv/data', '/srv', false],
  ['/srv/data', '/srv/data/../other', false],
  ['/srv/docs:ro', '/srv/docs/a:ro', true],
  ['/srv/docs:ro', '/srv/docs/a', false],
  ['/srv/docs:ro', '/srv/docs', false],
  ['/srv/docs:ro', '/srv/docs/../data:ro', false],
  ['/srv/docs:ro', '/srv/docs2:ro', false],
  ['/srv/docs:ro', '/SRV/docs:ro', false],
  ['/var/run/app:ro', '/run/app/a:ro', true],
  ['/run/app:ro', '/var/run/app:ro', true],
  ['/run/app:ro', '/var/./run//app/b:ro', true],
  ['/run/app:ro', '/var/run2/app:ro', false],
])('with mounts %s, the bind of %s is allowed: %s', (grant, source, allowed) => {
  const [path, option] = source.split(':')
  const bind = { type: 'bind', source: path, target: '/t', read_only: option === 'ro' }
  expect(placesOf({ volumes: [bind] }, { mounts: [grant] })).toEqual(allowed ? [] : ['volumes.0'])
})

test('no spelling of a path leads out of the folder that is allowed', () => {
  const segment = fc.constantFrom('', '.', '..', 'srv', 'docs', 'data', 'var', 'run', '...')
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 8 }), fc.boolean(), (segments, below) => {
      const source = `${below ? '/srv/docs/' : '/'}${segments.join('/')}`
      // As the kernel would walk it, where nothing is a link.
      const { pathname } = new URL(
        `file:///${source
          .split('/')
          .filter((it) => it !== '')
          .join('/')}`,
      )
      const isBelow = `${pathname}/`.startsWith('/srv/docs/')
      const bind = { type: 'bind', source, target: '/t', read_only: true }
      const places = placesOf({ volumes: [bind] }, { mounts: ['/srv/docs:ro'] })
      expect(places.includes('volumes.0')).toBe(!isBelow)
    }),
  )
})

test('a webhook that asks for no secret is public', () => {
  const webhook = (secrets: { readonly value: string }[]) => ({
    type: 'webhook' as const,
    name: 'hook',
    scheme: { provider: 'alertmanager' as const, allowUnsigned: true },
    secrets,
    input: { body: 'raw' as const, parameters: {}, environment: {} },
    mode: 'async' as const,
  })
  const places = (policy: object, secrets: { readonly value: string }[]) =>
    deploy({}, policy, [webhook(secrets)]).problems.map(({ path }) => path.join('.'))
  expect(places({}, [])).toEqual(['triggers.0'])
  expect(places({}, [{ value: 'a secret' }])).toEqual([])
  expect(places({ public: true }, [])).toEqual([])
})
