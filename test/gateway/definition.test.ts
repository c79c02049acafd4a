import { expect, test } from 'vitest'
import { placeholder } from '../../src/core/template.ts'
import { showProblem } from '../../src/gateway/definition.ts'
import { problemsOf, read, readContainer, readSpec } from './definition-settings.ts'

const MIB = 1024 * 1024

test('an image alone makes a function, with everything safe by default', async () => {
  expect(await read('image: busybox')).toEqual({
    source: { image: 'busybox' },
    warnings: [],
    readFiles: [],
    spec: {
      name: 'test',
      timeoutMs: 60_000,
      parameters: {},
      response: 'envelope',
      body: 'auto',
      input: 'stdin',
      limits: { inputBytes: 1024 * MIB, outputBytes: MIB, logBytes: 10 * MIB },
      warm: { min: 0, max: Infinity },
      retries: {
        max: 3,
        minDelayMs: 1000,
        maxDelayMs: 60_000,
        factor: 2,
        jitter: 0.2,
        onExit: [],
        onTimeout: false,
      },
      retriesAreAsked: false,
      isPublic: false,
      triggers: [],
      container: {
        image: 'busybox',
        environment: {},
        groupAdd: [],
        tty: false,
        readOnly: false,
        privileged: false,
        pullPolicy: 'missing',
        networkMode: 'bridge',
        networks: [],
        mounts: [],
        secrets: [],
        configs: [],
        capAdd: [],
        capDrop: ['ALL'],
        securityOpt: ['no-new-privileges:true'],
        devices: [],
        ulimits: {},
        sysctls: {},
        labels: {},
        extraHosts: [],
        dns: [],
        dnsSearch: [],
        dnsOptions: [],
        stopGracePeriodMs: 10_000,
        limits: { memoryBytes: 512 * MIB, pids: 256 },
        reservations: { devices: [], genericResources: [] },
        placement: { constraints: [], spreadOver: [] },
      },
    },
  })
})

test('our own keys are read with their units', async () => {
  const text = `
image: i
description: Costs $5, says \${{ nobody }}
timeout: 1m30s
concurrency: 4
response: raw
body: stdin
input: file
limits: { input: 64k, output: 2m, logs: 1048576 }
x-note: [anything]
`
  expect(await readSpec(text)).toMatchObject({
    description: 'Costs $5, says ${{ nobody }}',
    timeoutMs: 90_000,
    concurrency: 4,
    response: 'raw',
    body: 'stdin',
    input: 'file',
    limits: { inputBytes: 65_536, outputBytes: 2 * MIB, logBytes: MIB },
  })
})

test.each<[string, string, object]>([
  [
    'a command as text',
    `command: sh -c 'echo "a b"; ls'`,
    { command: ['sh', '-c', 'echo "a b"; ls'] },
  ],
  ['a command as list', 'command: [sleep, 1, "", true]', { command: ['sleep', '1', '', 'true'] }],
  [
    'numbers in a command',
    'command: [run, 1.10, 12345678901234567890, 0x10, 1e3, 010]\nentrypoint: [x, 1.0]',
    {
      command: ['run', '1.10', '12345678901234567890', '0x10', '1e3', '010'],
      entrypoint: ['x', '1.0'],
    },
  ],
  ['an entrypoint as text', 'entrypoint: /bin/sh -c', { entrypoint: ['/bin/sh', '-c'] }],
  ['an empty entrypoint', 'entrypoint: []', { entrypoint: [] }],
  ['a null command', 'command:', {}],
  [
    'environment as map',
    'environment: { A: a, N: 1, T: true, V: 1.10, B: 12345678901234567890 }',
    { environment: { A: 'a', N: '1', T: 'true', V: '1.10', B: '12345678901234567890' } },
  ],
  [
    'environment as list',
    'environment: [A=a=b, "B=", HOME, NOT_SET]',
    { environment: { A: 'a=b', B: '', HOME: '/gw' } },
  ],
  [
    'environment without values',
    'environment: { HOME: , NOT_SET: }',
    { environment: { HOME: '/gw' } },
  ],
  ['env, the short form', 'env: { A: a }', { environment: { A: 'a' } }],
  [
    'numbers as they are written',
    'hostname: 1.10\ngroup_add: [1e3]\nlabels: [1.10]\nextra_hosts: { a: 1.10 }',
    { hostname: '1.10', groupAdd: ['1e3'], labels: { '1.10': '' }, extraHosts: ['a:1.10'] },
  ],
  [
    'numbers that are meant as such, however they are written',
    'pids_limit: 0x10\ncpus: 5e-1\nmem_limit: 1e9\nulimits: { nofile: +5, core: -1 }',
    {
      limits: { pids: 16, cpus: 0.5, memoryBytes: 1e9 },
      ulimits: { nofile: { soft: 5, hard: 5 }, core: { soft: -1, hard: -1 } },
    },
  ],
  [
    'numbers as text',
    'user: 1000\ngroup_add: [27, "44"]\nworking_dir: /w',
    { user: '1000', groupAdd: ['27', '44'], workingDir: '/w' },
  ],
  ['flags', 'tty: true\ninit: true\nread_only: "true"', { tty: true, init: true, readOnly: true }],
  [
    'names',
    'hostname: h\nplatform: linux/arm64/v8\nruntime: runsc\nstop_signal: SIGINT',
    { hostname: 'h', platform: 'linux/arm64/v8', runtime: 'runsc', stopSignal: 'SIGINT' },
  ],
  ['a grace period', 'stop_grace_period: 1m30s', { stopGracePeriodMs: 90_000 }],
  ['pull_policy if_not_present', 'pull_policy: if_not_present', { pullPolicy: 'missing' }],
  ['network_mode', 'network_mode: none', { networkMode: 'none', networks: [] }],
  [
    'networks as list',
    'networks: [a, b]',
    {
      networks: [
        { name: 'a', aliases: [] },
        { name: 'b', aliases: [] },
      ],
    },
  ],
  [
    'networks as map',
    'networks: { a: , b: { aliases: [x], ipv4_address: 10.0.0.2, ipv6_address: "fd00::2" } }',
    {
      networks: [
        { name: 'a', aliases: [] },
        { name: 'b', aliases: ['x'], ipv4Address: '10.0.0.2', ipv6Address: 'fd00::2' },
      ],
    },
  ],
  ['a tmpfs', 'tmpfs: /tmp', { mounts: [{ type: 'tmpfs', target: '/tmp' }] }],
  [
    'tmpfs with options',
    'tmpfs: ["/tmp:size=64m,mode=1777,noexec", /run]',
    {
      mounts: [
        { type: 'tmpfs', target: '/tmp', sizeBytes: 64 * MIB, mode: 0o1777 },
        { type: 'tmpfs', target: '/run' },
      ],
    },
  ],
  [
    'capabilities',
    'cap_add: [NET_RAW]\ncap_drop: [CHOWN]',
    { capAdd: ['NET_RAW'], capDrop: ['CHOWN'] },
  ],
  ['no capability dropped', 'cap_drop: []', { capDrop: [] }],
  [
    'security_opt',
    'security_opt: [apparmor=mine]',
    { securityOpt: ['apparmor=mine', 'no-new-privileges:true'] },
  ],
  [
    'no-new-privileges turned off',
    'security_opt: ["no-new-privileges=false"]',
    { securityOpt: [] },
  ],
  [
    'no-new-privileges said again',
    'security_opt: [no-new-privileges]',
    { securityOpt: ['no-new-privileges:true'] },
  ],
  [
    'devices',
    'devices: [/dev/fuse, "/dev/kvm:/dev/k:r", { source: /dev//null, permissions: rw }]',
    {
      devices: [
        { source: '/dev/fuse', target: '/dev/fuse', permissions: 'rwm' },
        { source: '/dev/kvm', target: '/dev/k', permissions: 'r' },
        { source: '/dev/null', target: '/dev//null', permissions: 'rw' },
      ],
    },
  ],
  [
    'devices by name',
    'devices: ["vendor.example/gpu=0:1", { source: vendor.example/gpu=all }]',
    {
      devices: ['vendor.example/gpu=0:1', 'vendor.example/gpu=all'].map((name) => ({
        source: name,
        target: name,
        permissions: 'rwm',
      })),
    },
  ],
  ['shm_size', 'shm_size: 64m', { shmBytes: 64 * MIB }],
  [
    'ulimits',
    'ulimits: { nproc: 10, nofile: { soft: 1, hard: 2 }, core: -1 }',
    {
      ulimits: {
        nproc: { soft: 10, hard: 10 },
        nofile: { soft: 1, hard: 2 },
        core: { soft: -1, hard: -1 },
      },
    },
  ],
  [
    'sysctls and labels',
    'sysctls: [net.core.somaxconn=1024]\nlabels: { a: 1, b: }',
    { sysctls: { 'net.core.somaxconn': '1024' }, labels: { a: '1', b: '' } },
  ],
  ['labels as list', 'labels: [a=1, b]', { labels: { a: '1', b: '' } }],
  [
    'extra_hosts as list',
    'extra_hosts: ["a=10.0.0.1", "b:10.0.0.2", "c=[::1]", "d:fd00::1"]',
    { extraHosts: ['a:10.0.0.1', 'b:10.0.0.2', 'c:::1', 'd:fd00::1'] },
  ],
  [
    'extra_hosts as map',
    'extra_hosts: { a: 10.0.0.1, b: [10.0.0.2, "::1"], c: host-gateway }',
    { extraHosts: ['a:10.0.0.1', 'b:10.0.0.2', 'b:::1', 'c:host-gateway'] },
  ],
  [
    'dns',
    'dns: 1.1.1.1\ndns_search: [a, b]\ndns_opt: [ndots:1]',
    { dns: ['1.1.1.1'], dnsSearch: ['a', 'b'], dnsOptions: ['ndots:1'] },
  ],
  [
    'all gpus',
    'gpus: all',
    {
      reservations: {
        devices: [{ capabilities: ['gpu'], count: -1, options: {} }],
        genericResources: [],
      },
    },
  ],
  [
    'some gpus',
    'gpus: [{ driver: nvidia, device_ids: ["0"], options: { a: 1 } }, { count: 2 }]',
    {
      reservations: {
        devices: [
          { driver: 'nvidia', deviceIds: ['0'], capabilities: ['gpu'], options: { a: '1' } },
          { count: 2, capabilities: ['gpu'], options: {} },
        ],
        genericResources: [],
      },
    },
  ],
  [
    'short limits',
    'mem_limit: 64m\ncpus: 0.5\npids_limit: 10\nmem_reservation: 32m',
    {
      limits: { memoryBytes: 64 * MIB, cpus: 0.5, pids: 10 },
      reservations: { memoryBytes: 32 * MIB, devices: [], genericResources: [] },
    },
  ],
])('%s is read as Compose means it', async (_, text, expected) => {
  expect(await readContainer(text, { environment: { HOME: '/gw' } })).toMatchObject(expected)
})

test('deploy gives resources and placement', async () => {
  const container = await readContainer(`
deploy:
  resources:
    limits: { cpus: "1.5", memory: 64M, pids: 20 }
    reservations:
      cpus: "0.25"
      memory: 32M
      devices: [{ driver: nvidia, count: all, capabilities: [gpu, utility] }]
      generic_resources:
        - discrete_resource_spec: { kind: licence, value: 2 }
  placement:
    constraints: [node.role == worker]
    preferences: [{ spread: node.labels.zone }]
    max_replicas_per_node: 1
`)
  expect(container).toMatchObject({
    limits: { cpus: 1.5, memoryBytes: 64 * MIB, pids: 20 },
    reservations: {
      cpus: 0.25,
      memoryBytes: 32 * MIB,
      devices: [{ driver: 'nvidia', count: -1, capabilities: ['gpu', 'utility'], options: {} }],
      genericResources: [{ kind: 'licence', value: 2 }],
    },
    placement: {
      constraints: ['node.role == worker'],
      spreadOver: ['node.labels.zone'],
      maxReplicasPerNode: 1,
    },
  })
})

const bind = { type: 'bind', target: '/d', readOnly: false, createHostPath: true }
const volume = {
  type: 'volume',
  target: '/d',
  readOnly: false,
  nocopy: false,
  driverOptions: {},
  labels: {},
}
test.each<[string, object]>([
  ['/data:/d', { ...bind, source: '/data' }],
  ['./data/../other:/d/:ro', { ...bind, source: '/functions/other', readOnly: true }],
  [
    '~/data:/d:rw,rslave,z',
    { ...bind, source: '/home/me/data', propagation: 'rslave', selinux: 'z' },
  ],
  ['data:/d', { ...volume, source: 'data' }],
  ['data:/d:nocopy,ro', { ...volume, source: 'data', nocopy: true, readOnly: true }],
  ['/d', volume],
  [
    '{ type: bind, source: ../data, target: /d, read_only: true, bind: { create_host_path: false, propagation: shared } }',
    { ...bind, source: '/data', readOnly: true, createHostPath: false, propagation: 'shared' },
  ],
  [
    '{ type: volume, source: v, target: /d, volume: { nocopy: true, driver: local, driver_opts: { type: nfs, o: addr=10.0.0.1, device: ":/x", n: 1.0 }, labels: [a=b] } }',
    {
      ...volume,
      source: 'v',
      nocopy: true,
      driver: 'local',
      driverOptions: { type: 'nfs', o: 'addr=10.0.0.1', device: ':/x', n: '1.0' },
      labels: { a: 'b' },
    },
  ],
  ['{ type: volume, target: /d }', volume],
  [
    '{ type: tmpfs, target: /d, tmpfs: { size: 1m, mode: 0700 } }',
    { type: 'tmpfs', target: '/d', sizeBytes: MIB, mode: 0o700 },
  ],
])('the volume %s is read as Compose means it', async (entry, mount) => {
  const { mounts } = await readContainer(`volumes:\n  - ${entry}`)
  expect(mounts).toEqual([mount])
})

test('secrets and configs become files', async () => {
  const { secrets, configs } = await readContainer(`
secrets: [token, { source: key, target: tls/key.pem, uid: "10", gid: 20, mode: 0400 }]
configs: [app, { source: conf, target: /etc/conf, mode: "0o440" }, { source: rel, target: x }]
`)
  const file = { uid: 0, gid: 0, mode: 0o444 }
  expect(secrets).toEqual([
    { ...file, source: 'token', target: '/run/secrets/token' },
    { source: 'key', target: '/run/secrets/tls/key.pem', uid: 10, gid: 20, mode: 0o400 },
  ])
  expect(configs).toEqual([
    { ...file, source: 'app', target: '/app' },
    { ...file, source: 'conf', target: '/etc/conf', mode: 0o440 },
    { ...file, source: 'rel', target: '/x' },
  ])
})

test('variables are filled in before values are typed, and keys are left alone', async () => {
  const text = `
image: \${IMAGE:-busybox}
pids_limit: \${PIDS}
read_only: \${RO}
concurrency: \${PIDS}
command: echo "\${WORDS}" $$HOME
environment: { $KEY: '\${{ a }} $$x', V: $VERSION }
parameters:
  a:
    type: integer
    default: \${PIDS}
    description: $5
  b: { type: string, pattern: '^a$', default: a }
`
  const environment = { PIDS: '12', RO: 'true', WORDS: 'a  b', VERSION: '1.10' }
  const spec = await readSpec(text, { environment })
  expect(spec).toMatchObject({
    concurrency: 12,
    parameters: { a: { default: 12, description: '$5' }, b: { pattern: '^a$' } },
    container: {
      image: 'busybox',
      readOnly: true,
      limits: { pids: 12 },
      command: ['echo', 'a  b', '$HOME'],
      environment: { $KEY: `${placeholder('a')} $x`, V: '1.10' },
    },
  })
})

const long = 'a'.repeat(60_000)
test.each([
  [`command: [sh, -c, ${long.repeat(3)}]`, 'command: expected at most 128 KiB in each'],
  [
    `command: [echo, '${'${{ p }}'.repeat(3)}']\nparameters: { p: { type: string, default: ${long} } }`,
    'command: expected at most 128 KiB in each',
  ],
  [
    `parameters: { p: { type: string, default: ${long.repeat(2)} } }`,
    'parameters.p.default: expected at most 100 KiB',
  ],
  [
    `x-long: &long ${long}\nparameters: { ${numbered(18, (n) => `p${n}: { type: string, default: *long }`)} }`,
    'parameters: expected defaults of at most 1 MiB together',
  ],
  [
    `x-long: &long ${long}\nenvironment: { ${numbered(31, (n) => `V${n}: *long`)} }`,
    'environment: expected command, environment and defaults of at most 1.75 MiB together',
  ],
])('what no call could start is a mistake of the definition: %#', async (text, message) => {
  expect(await problemsOf(text)).toEqual([expect.stringContaining(message)])
})

function numbered(count: number, show: (n: number) => string): string {
  return Array.from({ length: count }, (_, n) => show(n)).join(', ')
}

test('a variable that is not set is warned of', async () => {
  const result = await read('image: i\nuser: "0${UNSET}"\n')
  expect(result).toMatchObject({ warnings: [expect.stringContaining('UNSET')] })
})

test('a value from a call stays within its word, even in a command written as text', async () => {
  const { command } = await readContainer(
    'command: say --to=${{ who }} "and ${{ who }}"\nparameters: { who: { type: string, required: true } }',
  )
  expect(command).toEqual(['say', `--to=${placeholder('who')}`, `and ${placeholder('who')}`])
})

test('anchors, aliases and merges work as in any YAML', async () => {
  const { environment, labels } = await readContainer(
    `
x-shared: &shared { A: a, B: $V }
environment: { <<: *shared, C: c }
labels: *shared
`,
    { environment: { V: 'v' } },
  )
  expect(environment).toEqual({ A: 'a', B: 'v', C: 'c' })
  expect(labels).toEqual({ A: 'a', B: 'v' })
})

test('what an alias stands for is read by where it is used', async () => {
  const text = `
image: i
x-c: &c { VERSION: 1.10, OTHER: 1.20 }
x-p: &p { type: string, pattern: '^a$' }
x-n: &n \${N:-3}
x-list: [&item 1.10]
environment: { <<: [*c, { MORE: 0x10 }], OTHER: 1.30, '<<': x }
command: [*item, *item]
parameters:
  a: *p
  b: { type: integer, default: *n }
  c: { <<: *p, type: string, default: a }
`
  const spec = await readSpec(text)
  expect(spec).toMatchObject({
    parameters: {
      a: { pattern: '^a$' },
      b: { default: 3 },
      c: { pattern: '^a$', default: 'a' },
    },
    container: { command: ['1.10', '1.10'] },
  })
  expect(spec.container.environment).toEqual({
    VERSION: '1.10',
    OTHER: '1.30',
    MORE: '0x10',
    '<<': 'x',
  })
})

test('a mistake in what is merged is told where it is written', async () => {
  const text = 'x-limits: &limits\n  pids: none\ndeploy: { resources: { limits: { <<: *limits } } }'
  expect(await problemsOf(text)).toEqual([
    expect.stringContaining('test.yml:2:3: deploy.resources.limits.pids: expected a whole number'),
  ])
})

test.each(['options', 'labels', 'env', 'environment', 'sysctls'])(
  'a parameter named %s has numbers like any other',
  async (name) => {
    const schema = '{ type: integer, minimum: 1, default: 2 }'
    const { parameters } = await readSpec(
      `image: i\nparameters: { ${name}: ${schema}, o: { type: object, properties: { ${name}: ${schema} } } }`,
    )
    const expected = { type: 'integer', minimum: 1, default: 2 }
    expect(parameters).toEqual({
      [name]: expected,
      o: { type: 'object', properties: { [name]: expected } },
    })
  },
)

test('a property with the name of a keyword is a property', async () => {
  const properties = ['title', 'description', 'examples', 'pattern', 'properties'].map(
    (name) => `${name}: { type: integer, default: $N, description: $5 }`,
  )
  const text = `
image: i
parameters:
  a:
    type: object
    properties:
      ${properties.join('\n      ')}
      list: { type: array, items: { type: string, pattern: '^a$' } }
    additionalProperties: { type: string, pattern: '^b$' }
  b: { type: object, default: { title: '$N' } }
`
  const { parameters } = await readSpec(text, { environment: { N: '3' } })
  const property = { type: 'integer', default: 3, description: '$5' }
  expect(parameters).toMatchObject({
    a: {
      properties: {
        title: property,
        description: property,
        examples: property,
        pattern: property,
        properties: property,
        list: { items: { pattern: '^a$' } },
      },
      additionalProperties: { pattern: '^b$' },
    },
    b: { default: { title: '3' } },
  })
})

test.each<[string, string]>([
  ['comand: ls', 'test.yml:1:1: comand: unknown key: did you mean command?'],
  ['enviroment: {}', 'test.yml:1:1: enviroment: unknown key: did you mean environment?'],
  [
    'deploy:\n  resources:\n    limits:\n      memry: 1g',
    'test.yml:4:7: deploy.resources.limits.memry: unknown key: did you mean memory?',
  ],
  ['zzz: 1\ntty: true', 'test.yml:1:1: zzz: unknown key: expected one of image, '],
  [
    'deploy:\n  resources:\n    limits:\n      memory: lots',
    'test.yml:4:7: deploy.resources.limits.memory: expected a size such as 64k, 10m or 1g, 6m at the least, got "lots"',
  ],
  ['memory: 5m', 'test.yml:1:1: memory: memory is not taken: write mem_limit, or deploy'],
  ['cap_add: NET_ADMIN', 'test.yml:1:1: cap_add: expected a list of texts, got "NET_ADMIN"'],
  ['group_add: 5', 'test.yml:1:1: group_add: expected a list of texts, got "5"'],
  ['dns_opt: x', 'test.yml:1:1: dns_opt: expected a list of texts, got "x"'],
  [
    'deploy: { placement: { constraints: x } }',
    'test.yml:1:24: deploy.placement.constraints: expected a list of texts, got "x"',
  ],
  ['secrets: [../../etc/shadow]', 'test.yml:1:11: secrets.0: expected a name of letters'],
  ['configs: [{ source: a/b }]', 'test.yml:1:13: configs.0.source: expected a name of letters'],
  ['mem_limit: 1k', 'test.yml:1:1: mem_limit: expected a size'],
  [
    'timeout: soon',
    'test.yml:1:1: timeout: expected a duration such as 500ms, 30s or 1m30s, got "soon"',
  ],
  ['timeout: 0s', 'timeout: expected more than 0 and at most 86400s'],
  ['timeout: 25h', 'timeout: expected more than 0 and at most 86400s'],
  ['limits: { output: 1g }', 'limits.output: expected at most 64m'],
  ['response: json', 'response: expected one of envelope, raw, got "json"'],
  ['concurrency: 0', 'concurrency: expected a whole number of at least 1, got "0"'],
  ['concurrency: 1.5', 'concurrency: expected a whole number'],
  ['pids_limit: -1', 'pids_limit: expected a whole number of at least 1'],
  ['cpus: 0', 'cpus: expected a number of CPUs above 0'],
  ['read_only: maybe', 'read_only: expected true or false, got "maybe"'],
  ['command: { a: b }', 'command: expected a text or a list of texts, got a map'],
  ["command: echo 'a", 'command: expected every quote to be closed'],
  ['command:\n  - a\n  - [b]', 'test.yml:3:5: command.1: expected a text, got a list'],
  ['environment: text', 'environment: expected a map or a list of KEY=value'],
  ['environment:\n  A: [a]', 'test.yml:2:3: environment.A: expected a text'],
  ['environment: { "": a }', 'environment: expected each variable to have a name'],
  ['environment: {}\nenv: {}', 'test.yml:2:1: env: is the short form of environment'],
  [
    'network_mode: none\nnetworks: [a]',
    'test.yml:2:1: networks: stands in the way of network_mode',
  ],
  ['network_mode: service:db', 'network_mode: expected bridge, none, host or a network'],
  ['pid: service:db', 'pid: expected host or container:NAME'],
  ['pull_policy: build', 'pull_policy: build is not taken'],
  ['pull_policy: every_12h', 'pull_policy: every_12h is not taken'],
  ['pull_policy: sometimes', 'pull_policy: expected always, missing or never'],
  [
    'mem_limit: 1g\ndeploy: { resources: { limits: { memory: 1g } } }',
    'test.yml:1:1: mem_limit: stands in the way of deploy.resources.limits.memory',
  ],
  ['mem_reservation: 1g', 'mem_reservation: expected at most the limit of 536870912 bytes'],
  ['memswap_limit: 1g', 'memswap_limit: memswap_limit is not taken'],
  ['ports: [80]', 'ports: ports is not taken: a function is reached through the gateway'],
  ['restart: always', 'restart: restart is not taken: a call runs once and is never restarted'],
  ['build: .', 'build: build is not taken'],
  ['depends_on: [db]', 'depends_on: depends_on is not taken'],
  ['deploy:\n  replicas: 2', 'test.yml:2:3: deploy.replicas: replicas is not taken'],
  [
    'deploy:\n  restart_policy: {}',
    'test.yml:2:3: deploy.restart_policy: restart_policy is not taken: a call runs once',
  ],
  [
    'volumes: [a:b]',
    'test.yml:1:11: volumes.0: expected an absolute path in the container, got "b"',
  ],
  ['volumes: ["a/b:/c"]', "volumes.0: expected a volume's name or a path"],
  ['volumes: ["/a:/b:c"]', 'volumes.0: expected options such as ro'],
  ['volumes: ["a:/b:rslave"]', 'volumes.0: rslave does not fit a volume'],
  ['volumes: ["/a:/b:nocopy"]', 'volumes.0: nocopy does not fit a bind'],
  ['volumes: [/a, /a/]', 'volumes.1: expected one mount at /a, found another'],
  ['volumes: ["/a:/"]', "volumes.0: expected a path below /: the root is the image's"],
  [
    'volumes:\n  - type: volume\n    source: /etc\n    target: /a',
    "test.yml:3:5: volumes.0.source: expected a volume's name",
  ],
  [
    'volumes:\n  - type: bind\n    target: /a',
    'test.yml:2:5: volumes.0.source: expected a path of the host',
  ],
  [
    'volumes: [{ type: bind, source: /a, target: /a, volume: {} }]',
    'volumes.0.volume: is for mounts of type volume, not bind',
  ],
  [
    'volumes: [{ type: bind, source: /a, target: /a, bind: { selinux: z, create_host_path: false } }]',
    'volumes.0.bind.selinux: goes together',
  ],
  ['volumes: [{ type: npipe, target: /a }]', 'volumes.0.type: expected one of volume, bind, tmpfs'],
  [
    'volumes: [{ type: volume, source: a, target: /a, volume: { subpath: b } }]',
    'volumes.0.volume.subpath: subpath is not taken',
  ],
  ['tmpfs: /a:exec', 'tmpfs: expected options such as size=64m'],
  [
    'secrets: [{ source: a, mode: 440 }]',
    'secrets.0.mode: expected permission bits in octal, such as 0444, got "440"',
  ],
  ['stop_grace_period: 25d', 'stop_grace_period: expected at most 24d'],
  ['timeout: 2147483648ms', 'timeout: expected at most 24d'],
  ['devices: [fuse]', 'devices.0: expected an absolute path'],
  ['devices: ["a:b:c:d"]', 'devices.0: expected SOURCE:TARGET:PERMISSIONS'],
  ['devices: [{ source: ../dev/vda, target: /dev/x }]', 'devices.0: expected an absolute path'],
  ['devices: [{ source: ../a=b }]', 'devices.0: expected an absolute path'],
  ['devices: ["/dev/fuse:/dev/fuse:x"]', 'devices.0: expected permissions of r, w and m'],
  ['gpus: [{ count: 1, device_ids: ["0"] }]', 'gpus.0: expected count or device_ids, not both'],
  [
    'ulimits: { nofile: { soft: 1 } }',
    'ulimits.nofile.hard: expected a whole number, -1 for unlimited, got nothing',
  ],
  ['extra_hosts: [a]', 'extra_hosts.0: expected HOST=ADDRESS'],
  ['user: $', 'test.yml:1:1: user: a lone $ means nothing'],
  ['user: "a\\0b"', 'user: expected no NUL character'],
  [
    'user: ${WHO:?who runs it}',
    'user: the variable WHO must be set where the gateway runs: who runs it',
  ],
  ['user: ${{ who }}', 'user: ${{ who }} can only stand in command, entrypoint and environment'],
  ['command: echo ${{ who }}', 'command: ${{ who }} names no parameter'],
  [
    'env: { A: "${{ a }}" }\nparameters: { a: { type: string } }',
    'env.A: ${{ a }} may have no value',
  ],
  ['parameters: { a-b: { type: string } }', 'parameters.a-b: expected a name of letters'],
  ['parameters: { PATH: { type: string } }', 'parameters.PATH: expected another name'],
  ['parameters: { LD_PRELOAD: { type: string } }', 'parameters.LD_PRELOAD: expected another name'],
  ['parameters: { ONESHOT_X: { type: string } }', 'parameters.ONESHOT_X: expected another name'],
  ['parameters: { __proto__: { type: string } }', 'parameters.__proto__: expected another name'],
  [
    'parameters: { a: { type: string } }\nenvironment: { a: b }',
    'parameters.a: expected another name: environment or env_file sets',
  ],
  ['parameters: { a: { type: strin } }', 'parameters.a.type: expected one of string, number'],
  [
    'parameters: { a: { type: string, maxlength: 3 } }',
    'parameters.a.maxlength: unknown key: did you mean maxLength?',
  ],
  ['parameters: { a: { $ref: x, type: string } }', 'parameters.a.$ref: $ref is not taken'],
  [
    'privileged: true',
    'test.yml:1:1: privileged: a privileged container has the host: the operator can allow it with ONESHOT_ALLOW=privileged',
  ],
])('%j is refused with its place and what was expected', async (text, expected) => {
  expect(await problemsOf(text)).toEqual([expect.stringContaining(expected)])
})

test.each(['/', '~/../../', '../', '${ROOT}'])(
  'a bind of %s is the root, however it is written',
  async (source) => {
    const problems = await problemsOf(`volumes: ['${source}:/host']`, {
      environment: { ROOT: '/' },
    })
    expect(problems).toEqual([expect.stringContaining('ONESHOT_ALLOW=host-root')])
  },
)

test('every problem is told at once', async () => {
  expect(await problemsOf('tty: 1\nports: []\ncomand: x\ninit: y')).toHaveLength(4)
})

test('what the operator allows is taken', async () => {
  const allowed = new Set(['privileged', 'host-network'] as const)
  const container = await readContainer('privileged: true\nnetwork_mode: host', { allowed })
  expect(container).toMatchObject({ privileged: true, networkMode: 'host' })
})

test.each([
  'busybox',
  'busybox:1.36',
  'a/b_c-d.e/f',
  'registry.example:5000/team/tool:1.2-x',
  `busybox@sha256:${'a'.repeat(64)}`,
  `sha256:${'0'.repeat(64)}`,
  'localhost:5000/a',
])('the image %s is taken', async (image) => {
  expect((await readSpec(`image: ${image}`)).container.image).toBe(image)
})

test.each(['""', 'Busybox', 'a b', '"a:b:c"', '-x', 'a/../b', 'a#b', '"a:"', '[]', '5.5.'])(
  'the image %s is refused',
  async (image) => {
    const { problems } = await read(`image: ${image}`)
    expect(problems).toMatchObject([{ key: 'image', line: 1 }])
  },
)

test.each([
  ['nothing', ''],
  ['a list', '- image: i'],
  ['a text', 'image'],
  ['a broken flow', 'image: [i'],
  ['a tab', 'deploy:\n\tresources: {}'],
  ['a key twice', 'image: i\nimage: j'],
  ['two documents', 'image: i\n---\nimage: j'],
  ['an unknown tag', 'image: !!js/function i'],
  ['an alias of nothing', 'image: *i'],
  ['aliases that multiply', `a: &a [x,x,x,x,x,x,x,x,x,x]\n${bomb()}image: i`],
  ['a nesting without end', '['.repeat(100_000)],
  ['a file of more than 1 MiB', `# ${'x'.repeat(MIB)}`],
])('%s is refused as a whole, with a place', async (_, text) => {
  const { problems } = await read(text)
  expect(problems?.length).toBeGreaterThan(0)
  expect(problems?.[0]).toMatchObject({
    file: 'test.yml',
    line: expect.any(Number),
    message: expect.any(String),
  })
})

function bomb() {
  const names = 'abcdefgh'
  return Array.from({ length: 7 }, (_, index) => {
    const from = names[index]
    return `${names[index + 1]}: &${names[index + 1]} [${Array.from({ length: 10 }, () => `*${from}`).join()}]\n`
  }).join('')
}

test('a syntax error names its line', async () => {
  const { problems } = await read('image: i\nuser: "open\n')
  expect(problems).toMatchObject([
    { line: expect.any(Number), message: expect.stringContaining('not YAML') },
  ])
  expect(problems?.[0]?.line).toBeGreaterThanOrEqual(2)
})

test('a variable that needs quotes is told so', async () => {
  const { problems } = await read('image: i\ncommand: [sleep, ${{ a }}]\nuser: x\n')
  expect(problems).toMatchObject([
    { line: 2, message: expect.stringContaining('put quotes around') },
  ])
})

test('a Compose file is told what to do', async () => {
  const { problems } = await read('version: "3"\nservices:\n  a:\n    image: i\n')
  expect(problems).toMatchObject([
    {
      line: 2,
      key: 'services',
      message: expect.stringContaining('put what stands under the service at the top'),
    },
  ])
})

test('names that JavaScript objects have by birth are names like any other', async () => {
  const text = 'image: i\nuser: "0${constructor}"\nenvironment: { toString: , __proto__: a }\n'
  const result = await read(text)
  expect(result).toMatchObject({ warnings: [expect.stringContaining('constructor')] })
  expect(Object.entries(result.spec?.container.environment ?? {})).toEqual([['__proto__', 'a']])
  expect(await problemsOf('toString: a')).toEqual([expect.stringContaining('unknown key')])
  expect(await problemsOf('pull_policy: toString')).toEqual([expect.stringContaining('expected')])
})

const got = 'got what is in ${DB}'
test.each([
  ['a text', 'networks: ${DB}', 'hunter2', `expected a list of names or a map, ${got}`],
  ['a text with a quote', 'image: ${DB}', 'hunter2"secretxyz', `tool:1.2, ${got}`],
  ['lines', 'image: "${DB}"', '-hunter2-\nsecretxyz\n', `tool:1.2, ${got}`],
  ['a part of a volume', 'volumes: ["${DB}"]', 'postgres://user:hunter2pass', got],
  ['a part of a tmpfs', 'tmpfs: "${DB}"', '/tmp:hunter2pass', got],
  ['a part of an item of tmpfs', 'tmpfs: ["/tmp:${DB}"]', 'hunter2,pass', got],
  ['a second mount', 'volumes: [/hunter2pass, "${DB}"]', 'x:/hunter2pass/', 'expected one mount'],
  ['a policy', 'pull_policy: ${DB}', 'every_hunter2', '${DB} is not taken: '],
  ['what the operator can allow', 'volumes: ["${DB}:/x"]', '/run/docker.sock', '=docker-socket'],
  ['a command', 'command: ["${DB}", [a]]', 'hunter2', 'expected a text, got a list'],
  [
    "a default's choices",
    'parameters: { a: { type: string, enum: ["${DB}"], default: b } }',
    'hunter2"x',
    'expected one of "${DB}"',
  ],
  ["another's reason", 'user: "${NONE:?set ${DB}}"', 'hunter2', 'gateway runs: set ${DB}'],
  ['what an anchor marks', 'x-a: &a "${DB}"\nimage: *a', 'hunter2"x', got],
  ['an env file', 'env_file: ["./x/${DB}"]', '../hunter2', 'env_file: '],
])('%s of the environment is kept out of messages', async (_, text, value, expected) => {
  const { problems = [] } = await read(text.includes('image: ') ? text : `${text}\nimage: i`, {
    environment: { DB: value },
  })
  expect(problems.map(showProblem)).toEqual([expect.stringContaining(expected)])
  expect(JSON.stringify(problems)).not.toMatch(/hunter2|secretxyz|pass\b/)
})

test('what the file says itself is told', async () => {
  const text = 'timeout: soon\nuser: ${USER_ID}\ncommand: { a: "${USER_ID}" }'
  expect(await problemsOf(text, { environment: { USER_ID: '1000' } })).toEqual([
    expect.stringContaining('expected a text or a list of texts, got a map'),
    expect.stringContaining('got "soon"'),
  ])
})

test.each([
  ['variables as a text', 'environment: DB_PASSWORD=hunter2'],
  ['variables as a text, by the short form', 'env: hunter2'],
  ['labels as a text', 'labels: token=hunter2'],
  ['an alias of nothing', 'environment: { DB_PASSWORD: *hunter2 }'],
  ['an unknown tag', 'environment: { DB_PASSWORD: !hunter2 x }'],
  ['the head of a block', 'environment:\n  DB_PASSWORD: |hunter2\n    x'],
  ['a text after a text', 'environment:\n  DB_PASSWORD: "x" hunter2'],
])('%s is refused without being quoted', async (_, text) => {
  const problems = await problemsOf(text)
  expect(problems.length).toBeGreaterThan(0)
  expect(problems.join()).not.toContain('hunter2')
})

test('of many problems the first are told, and how many more there are', async () => {
  const keys = Array.from({ length: 20_000 }, (_, index) => `comand${index}: x`).join('\n')
  const begin = performance.now()
  const problems = await problemsOf(keys)
  expect(performance.now() - begin).toBeLessThan(15_000)
  expect(problems).toHaveLength(21)
  expect(problems[0]).toContain('test.yml:1:1: comand0: unknown key: did you mean command?')
  expect(problems.at(-1)).toContain('and 19980 more problems')
})

test.each([
  ['misplaced parameters', (index: number) => `x${index}: "\${{ a }}"`],
  ['lone dollars', (index: number) => `x${index}: "$ "`],
])('of many %s the first are told', async (_, line) => {
  const lines = Array.from({ length: 1_000 }, (_, index) => line(index)).join('\n')
  expect(await problemsOf(lines)).toHaveLength(21)
})

test('long keys and values are cut in what is told of them', async () => {
  const problems = await problemsOf(`${'k'.repeat(900_000)}: x\nimage: ${'I'.repeat(100_000)}`)
  expect(problems.join().length).toBeLessThan(4_000)
})

test('a nesting deeper than any definition needs is refused before it is looked at', async () => {
  const items = `${'{type: array, items: '.repeat(1_500)}{type: string}${'}'.repeat(1_500)}`
  const [problem = ''] = await problemsOf(`parameters: { a: ${items} }`)
  expect(problem).toMatch(/expected at most 64 levels|nested too deeply/)
  const some = `${'{type: array, items: '.repeat(100)}{type: string}${'}'.repeat(100)}`
  expect(await problemsOf(`parameters: { a: ${some} }`)).toEqual([
    expect.stringContaining('expected at most 64 levels'),
  ])
  const few = `${'{type: array, items: '.repeat(20)}{type: string}${'}'.repeat(20)}`
  expect(await problemsOf(`parameters: { a: ${few} }`)).toEqual([])
})

test.each([
  ['deploy.placement', 'placement: { constraints: [node.role == worker] }'],
  ['deploy.placement', 'placement: { preferences: [{ spread: node.labels.zone }] }'],
  ['deploy.placement', 'placement: { max_replicas_per_node: 1 }'],
  ['deploy.resources.reservations.cpus', 'resources: { reservations: { cpus: 1 } }'],
  [
    'deploy.resources.reservations.generic_resources',
    'resources: { reservations: { generic_resources: [{ discrete_resource_spec: { kind: a, value: 1 } }] } }',
  ],
])('%s is taken with a warning that only a swarm looks at it', async (key, text) => {
  expect(await read(`image: i\ndeploy: { ${text} }`)).toMatchObject({
    warnings: [`${key}: only a swarm schedules by it; a single engine does not.`],
  })
})
