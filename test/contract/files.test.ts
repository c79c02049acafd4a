import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { docker } from '../docker/docker-client.ts'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, shell, startGateway } from './gateway.ts'

const volume = `oneshot-test-volume-${process.pid}`

const define = (folder: string) => ({
  files: shell(
    "cd /run/secrets && stat -c '%n %a %u:%g' * && cat token /etc/app/app.conf && stat -c '%n %a' /app",
    `secrets: [token, { source: key, target: renamed, uid: '1000', gid: '1000', mode: 0o400 }]
configs: [{ source: app, target: /etc/app/app.conf }, { source: app, mode: 0o555 }]
`,
  ),
  'files-read-only': shell(
    'stat -c %a /run/secrets/token; cat /run/secrets/token - /etc/app/app.conf; touch /nope',
    'read_only: true\nsecrets: [token]\nconfigs: [{ source: app, target: /etc/app/app.conf }]\n',
  ),
  'no-secret': 'image: busybox:stable\nnetwork_mode: none\nsecrets: [absent]\n',
  'no-config': 'image: busybox:stable\nnetwork_mode: none\nconfigs: [absent]\n',
  'read-only': shell(
    'touch /nope; df -k /tmp | tail -1; stat -c %a /tmp; echo t >/tmp/t && cat /tmp/t; head -c 2000000 /dev/zero >/tmp/big',
    'read_only: true\ntmpfs: /tmp:size=1m,mode=1777\n',
  ),
  mounts: shell(
    'cat /host/file; touch /host/x; echo kept >> /data/file; cat /data/file; df -k /scratch | tail -1; echo t > /scratch/t && cat /scratch/t',
    `volumes:
  - ${folder}:/host:ro
  - ${volume}:/data
  - { type: tmpfs, target: /scratch, tmpfs: { size: 1m } }
`,
  ),
  writes: shell('echo written >/host/$ONESHOT_INVOCATION_ID', `volumes: ['${folder}:/host']`),
  'no-mount': `image: busybox:stable
network_mode: none
volumes: [{ type: bind, source: ${folder}/absent, target: /x, bind: { create_host_path: false } }]
`,
  'made-mount': shell('echo made', `volumes: ['${folder}/to-be-made:/x']`),
  anonymous: shell('echo x >/data/x; cat /data/x', 'volumes: [{ type: volume, target: /data }]'),
  settings: shell(
    'pwd; id -u; id -G; hostname; cat /etc/hosts /etc/resolv.conf; cat /proc/1/comm; cat /proc/sys/net/core/somaxconn',
    `working_dir: /tmp
user: '1234'
group_add: ['99']
hostname: named
extra_hosts: ['db.test:10.1.2.3']
dns: 10.9.9.9
dns_search: example.test
init: true
sysctls: { net.core.somaxconn: 77 }
`,
  ).replace('network_mode: none', 'network_mode: bridge'),
  named: shell('id -un; id -gn', 'user: nobody'),
  labels: shell(
    'until [ -e /host/seen ]; do sleep 0.05; done',
    `labels: { team: blue, oneshot.gateway: mine }\nvolumes: ['${folder}:/host']`,
  ),
})

/** Where the functions' files come from: folders of the gateway's, or the swarm's managers. */
const provided = {
  secrets: { token: 's3cret\n', key: 'k3y\n' },
  configs: { app: 'colour = blue\n' },
}
const made: string[][] = []

async function provide(folder: string): Promise<void> {
  for (const [kind, files] of Object.entries(provided)) {
    await mkdir(join(folder, kind))
    for (const [name, content] of Object.entries(files)) {
      if (engine === 'container') await writeFile(join(folder, kind, name), content)
      else await createSwarmFile(kind.slice(0, -1), name, content)
    }
  }
}

async function createSwarmFile(kind: string, name: string, content: string): Promise<void> {
  const child = spawn('docker', [kind, 'create', name, '-'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  child.stdin.end(content)
  const [code] = (await once(child, 'close')) as [number]
  expect(code).toBe(0)
  made.push([kind, 'rm', name])
}

let gateway: Gateway
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oneshot-host-'))
  await writeFile(join(folder, 'file'), 'from the host\n')
  await provide(folder)
  gateway = await startGateway({
    functions: define(folder),
    env: {
      ONESHOT_SECRETS: join(folder, 'secrets'),
      ONESHOT_CONFIGS: join(folder, 'configs'),
    },
  })
})
afterAll(async () => {
  await gateway?.stop()
  await nothingLeft()
  for (const args of made) await docker(...args)
  await docker('volume', 'rm', '--force', volume)
  await rm(folder, { recursive: true })
})

describe.concurrent('secrets and configs', () => {
  test('are files, with the mode and the owner that were asked for', async () => {
    const { stdout, stderr } = await gateway.envelope('files')
    expect(stderr).toBe('')
    expect(stdout.split('\n')).toEqual([
      'renamed 400 1000:1000',
      'token 444 0:0',
      's3cret',
      'colour = blue',
      '/app 555',
      '',
    ])
  })

  test('come beside an input, beneath a read-only root', async () => {
    const { stdout, stderr } = await gateway.envelope('files-read-only', { body: 'read\n' })
    expect(stdout).toBe('444\ns3cret\nread\ncolour = blue\n')
    expect(stderr).toMatch(/Read-only file system/)
    await nothingLeft('files-read-only')
  })

  test.each([
    ['no-secret', 'secret'],
    ['no-config', 'config'],
  ])('that are not there are told by name, and nothing is started (%s)', async (name, kind) => {
    const { reason, error } = await gateway.envelope(name)
    expect([reason, error?.code]).toEqual(['not_started', 'container_refused'])
    const [told, remedy] =
      engine === 'swarm'
        ? [`The swarm has no ${kind} "absent"`, `docker ${kind} create absent`]
        : [`The ${kind} "absent" is not there`, 'put a file of that name into']
    expect(error?.detail).toContain(told)
    expect(error?.detail).toContain(remedy)
  })
})

test('a read-only root takes no files, but a tmpfs does, up to its size', async () => {
  const { stdout, stderr } = await gateway.envelope('read-only')
  expect(stdout).toMatch(/^tmpfs +1024 .*\n1777\nt\n$/)
  expect(stderr).toMatch(/\/nope: Read-only file system\nhead: .*error/)
})

describe('mounts', () => {
  test('show the host read-only, keep a volume, and bound a tmpfs', async () => {
    const { stdout, stderr } = await gateway.envelope('mounts')
    expect(stderr).toMatch(/\/host\/x: Read-only file system/)
    expect(stdout).toMatch(/^from the host\nkept\ntmpfs +1024 .*\nt\n$/)
    expect((await gateway.envelope('mounts')).stdout).toContain('kept\nkept\n')
  })

  test('may be written to', async () => {
    const { id, exitCode } = await gateway.envelope('writes')
    expect(exitCode).toBe(0)
    expect(
      await docker(
        'run',
        '--rm',
        `--volume=${folder}:/host`,
        'busybox:stable',
        'cat',
        `/host/${id}`,
      ),
    ).toBe('written')
  })

  test('without a name are gone with the call', async () => {
    const volumes = async () => (await docker('volume', 'ls', '--quiet')).split('\n').sort()
    const before = await volumes()
    expect(await gateway.envelope('anonymous')).toMatchObject({ stdout: 'x\n' })
    await nothingLeft('anonymous')
    await expect.poll(volumes, { timeout: 10_000 }).toEqual(before)
  })

  test('whose source is not there are told as such', async () => {
    expect(await gateway.envelope('no-mount')).toMatchObject({
      status: 502,
      reason: 'not_started',
      startedAt: null,
      error: { code: 'mount_not_found' },
    })
  })

  // 20.10's swarm makes no folders.
  test('whose source is to be made have it made, if the engine can', async () => {
    const { stdout, error } = await gateway.envelope('made-mount')
    const good = engine === 'swarm' ? ['made\n', 'mount_not_found'] : ['made\n']
    expect(good).toContain(error?.code ?? stdout)
  })
})

test("Compose's other keys reach the container", async () => {
  const { stdout } = await gateway.envelope('settings')
  expect(stdout).toMatch(/^\/tmp\n1234\n.*\b99\b.*\nnamed\n/)
  expect(stdout).toMatch(/10\.1\.2\.3\s+db\.test/)
  expect(stdout).toContain('nameserver 10.9.9.9')
  expect(stdout).toContain('search example.test')
  expect(stdout).toMatch(/docker-init\n77\n$/)
  expect((await gateway.envelope('named')).stdout).toBe('nobody\nnogroup\n')
})
