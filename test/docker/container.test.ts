import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { findContainers } from './containers.ts'
import { docker } from './docker-client.ts'

const networks = ['oneshot-test-a', 'oneshot-test-b']
const volume = 'oneshot-test-volume'

const shell = (script: string, more: string) =>
  `image: busybox:stable\ncommand: ${JSON.stringify(['sh', '-c', script.replaceAll('$', '$$$$')])}\n${more}`

const functions = (folder: string) => ({
  files: shell(
    "cd /run/secrets && stat -c '%n %a %u:%g' * && cat token /etc/app/app.conf",
    `network_mode: none
secrets: [token, { source: key, target: renamed, uid: '1000', gid: '1000', mode: 0o400 }]
configs: [{ source: app, target: /etc/app/app.conf }]
`,
  ),
  'read-only': shell(
    'stat -c %a /run/secrets/token; cat /run/secrets/token; touch /nope',
    'network_mode: none\nread_only: true\nsecrets: [token]\n',
  ),
  'no-secret': 'image: busybox:stable\nnetwork_mode: none\nsecrets: [absent]\n',
  mounts: shell(
    'cat /host/file; touch /host/x; echo kept >> /data/file; cat /data/file; df -k /scratch | tail -1; echo t > /scratch/t && cat /scratch/t',
    `network_mode: none
volumes:
  - ${folder}:/host:ro
  - ${volume}:/data
  - { type: tmpfs, target: /scratch, tmpfs: { size: 1m } }
`,
  ),
  'no-mount': `image: busybox:stable
network_mode: none
volumes: [{ type: bind, source: ${folder}/absent, target: /x, bind: { create_host_path: false } }]
`,
  networks: shell(
    'ip -o -4 addr | wc -l; hostname',
    `networks: [${networks.join(', ')}]\nhostname: named\n`,
  ),
  'no-network': 'image: busybox:stable\nnetworks: [oneshot-test-absent]\n',
  settings: shell(
    'pwd; id -u; id -G; ulimit -n; df -k /dev/shm | tail -1; cat /etc/hosts; cat /etc/resolv.conf; cat /proc/1/comm; cat /proc/sys/net/core/somaxconn; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null',
    `network_mode: bridge
working_dir: /tmp
user: '1234'
group_add: ['99']
ulimits: { nofile: { soft: 100, hard: 200 } }
shm_size: 1m
extra_hosts: ['db.test:10.1.2.3']
dns: 10.9.9.9
init: true
sysctls: { net.core.somaxconn: 77 }
mem_limit: 64m
`,
  ),
  labels: shell('sleep 1', 'network_mode: none\nlabels: { team: blue, oneshot.gateway: mine }\n'),
  'env-file': shell(
    'echo $FROM_FILE $OVERRIDDEN',
    'network_mode: none\nenv_file: vars.env\nenvironment: { OVERRIDDEN: definition }\n',
  ),
  tty: shell('tty; echo to-stderr >&2', 'network_mode: none\ntty: true\n'),
})

let program: Program
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-host-'))
  await writeFile(join(folder, 'file'), 'from the host\n')
  for (const [kind, files] of Object.entries({
    secrets: { token: 's3cret\n', key: 'k3y\n' },
    configs: { app: 'colour = blue\n' },
  })) {
    await mkdir(join(folder, kind))
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(folder, kind, name), content)
    }
  }
  for (const network of networks) await docker('network', 'create', network)
  program = await startProgram({
    functions: functions(folder),
    env: {
      ONESHOT_WARM_MEMORY: '0',
      ONESHOT_SECRETS: join(folder, 'secrets'),
      ONESHOT_CONFIGS: join(folder, 'configs'),
    },
  })
  await writeFile(join(program.functionsFolder, 'vars.env'), 'FROM_FILE=file\nOVERRIDDEN=file\n')
})
afterAll(async () => {
  await program?.stop()
  await docker('network', 'rm', ...networks)
  await docker('volume', 'rm', '-f', volume)
  await rm(folder, { recursive: true })
})

async function call(name: string): Promise<Envelope> {
  const response = await fetch(`${program.url}/function/${name}`, { method: 'POST' })
  return (await response.json()) as Envelope
}

describe('secrets and configs', () => {
  test('are files in the container, with the mode and the owner that were asked for', async () => {
    const { stdout } = await call('files')
    expect(stdout.split('\n')).toEqual([
      'renamed 400 1000:1000',
      'token 444 0:0',
      's3cret',
      'colour = blue',
      '',
    ])
  })

  test('reach a container whose root is read-only, and go with it', async () => {
    const volumes = await docker('volume', 'ls', '-q')
    const { stdout, stderr } = await call('read-only')
    expect(stdout).toBe('444\ns3cret\n')
    expect(stderr).toMatch(/Read-only file system/)
    await expect.poll(() => docker('volume', 'ls', '-q'), { timeout: 10_000 }).toBe(volumes)
  })

  test('that are not there are told by name, and the command is not started', async () => {
    const { reason, error } = await call('no-secret')
    expect(reason).toBe('not_started')
    expect(error?.detail).toMatch(/The secret "absent" is not there: put a file of that name into/)
  })
})

describe('mounts', () => {
  test('show the host read-only, keep a volume, and bound a tmpfs', async () => {
    const { stdout, stderr } = await call('mounts')
    expect(stderr).toMatch(/\/host\/x: Read-only file system/)
    expect(stdout).toMatch(/^from the host\nkept\ntmpfs +1024 .*\nt\n$/)
    expect((await call('mounts')).stdout).toContain('kept\nkept\n')
  })

  test('whose source is not there are told as such', async () => {
    expect(await call('no-mount')).toMatchObject({
      reason: 'not_started',
      error: { code: 'mount_not_found' },
    })
  })
})

describe('networks', () => {
  test('are all joined', async () => {
    const { stdout } = await call('networks')
    // Loopback, and one address on each.
    expect(stdout).toBe('3\nnamed\n')
  })

  test('that are not there keep the command from starting', async () => {
    const { reason, error } = await call('no-network')
    expect([reason, error?.code]).toEqual(['not_started', 'container_refused'])
    expect(error?.detail).toContain('oneshot-test-absent')
  })
})

test("Compose's other keys reach the container", async () => {
  const { stdout } = await call('settings')
  expect(stdout).toMatch(/^\/tmp\n1234\n.*\b99\b.*\n100\nshm +1024 /)
  expect(stdout).toMatch(/10\.1\.2\.3\s+db\.test/)
  expect(stdout).toContain('nameserver 10.9.9.9')
  expect(stdout).toMatch(/docker-init\n77\n67108864\n$/)
})

test('a container carries the labels of its definition, and ours above them', async () => {
  const running = call('labels')
  const [container] = await expect
    .poll(() => findContainers('labels'), { timeout: 10_000 })
    .toHaveLength(1)
    .then(() => findContainers('labels'))
  const { id } = await running
  expect(container?.Names).toEqual([`/oneshot-${id}`])
  expect(container?.Labels).toMatchObject({
    team: 'blue',
    'oneshot.invocation': id,
    'oneshot.function': 'labels',
  })
  expect(container?.Labels['oneshot.gateway']).not.toBe('mine')
})

test('an env file gives variables, which the definition may override', async () => {
  await expect
    .poll(async () => (await call('env-file')).stdout, { timeout: 10_000 })
    .toBe('file definition\n')
})

test('a tty has both streams on stdout', async () => {
  const { stdout, stderr } = await call('tty')
  expect(stdout).toMatch(/^\/dev\/(pts\/0|console)\r\nto-stderr\r\n$/)
  expect(stderr).toBe('')
})
