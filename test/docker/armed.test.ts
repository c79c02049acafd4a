import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Envelope } from '../../src/core/envelope.ts'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { eventually, findContainers, noContainers } from './containers.ts'
import { docker } from './docker-client.ts'
import { whenArmed } from './pool.ts'

const TAG = 'oneshot-test-armed:now'
const VERSIONS = ['one', 'two'].map((version) => `oneshot-test-armed:${version}`)
const NO_SHELL = 'oneshot-test-armed:no-shell'

const functions = {
  // Each container's root has a folder of its own on the engine's host.
  where: `image: busybox:stable
network_mode: none
command: [sed, -n, '1s/.*upperdir=\\([^,]*\\).*/\\1/p', /proc/self/mountinfo]
warm: 3
`,
  steady: 'image: busybox:stable\nnetwork_mode: none\ncommand: [echo, steady]\nwarm: 1\n',
  changing: 'image: busybox:stable\nnetwork_mode: none\ncommand: [echo, before]\nwarm: 2\n',
  tagged: `image: ${TAG}\nnetwork_mode: none\nwarm: 2\n`,
  'no-shell': `image: ${NO_SHELL}\nnetwork_mode: none\nwarm: 2\n`,
  typist:
    'image: busybox:stable\nnetwork_mode: none\ncommand: [sh, -c, "test -t 0 && echo typed"]\ntty: true\nwarm: 1\n',
  uid: 'image: busybox:stable\nnetwork_mode: none\nenvironment: { UID: "7" }\ncommand: [sh, -c, "echo $$UID"]\nwarm: 2\n',
  unarmed: 'image: busybox:stable\nnetwork_mode: none\ncommand: [echo, unarmed]\nwarm: 0\n',
  scribbler: `image: busybox:stable
network_mode: none
command: [sh, -c, 'for f in hosts hostname resolv.conf; do echo x >>/etc/$$f && echo wrote; done; ls /sys/class/net']
warm: 2
`,
  secretive:
    'image: busybox:stable\nnetwork_mode: none\nsecrets: [token]\ncommand: [cat, /run/secrets/token]\nwarm: 1\n',
  named: `image: busybox:stable
network_mode: none
parameters: { name: { type: string, required: true } }
command: ['\${{ name }}', named]
warm: 1
`,
  nobody: 'image: busybox:stable\nnetwork_mode: none\nuser: nosuch\nwarm: 0\n',
  forever: `image: busybox:stable
network_mode: none
command: [sh, -c, 'echo begun; exec sleep 1000']
timeout: 5m
stop_grace_period: 0s
warm: 1
`,
}

let program: Program
let secrets: string
beforeAll(async () => {
  secrets = await mkdtemp(join(tmpdir(), 'oneshot-secrets-'))
  await writeFile(join(secrets, 'token'), 'first')
  await buildImages()
  program = await startProgram({ functions, env: { ONESHOT_SECRETS: secrets } })
})
afterAll(async () => {
  await program?.stop()
  await docker('image', 'rm', '--force', TAG, NO_SHELL, ...VERSIONS)
  await rm(secrets, { recursive: true })
})

async function buildImages(): Promise<void> {
  const build = async (tag: string, ...lines: readonly string[]) => {
    const context = await mkdtemp(join(tmpdir(), 'oneshot-image-'))
    await writeFile(join(context, 'Dockerfile'), lines.join('\n'))
    await docker('build', '--tag', tag, context)
    await rm(context, { recursive: true })
  }
  for (const tag of VERSIONS) await build(tag, 'FROM busybox:stable', `CMD ["echo", "${tag}"]`)
  await build(
    NO_SHELL,
    'FROM scratch',
    'COPY --from=busybox:stable /bin/busybox /busybox',
    'CMD ["/busybox", "echo", "no shell"]',
  )
  await docker('tag', VERSIONS[0]!, TAG)
}

async function call(name: string) {
  const response = await fetch(`${program.url}/function/${name}`, { method: 'POST' })
  const envelope = (await response.json()) as Envelope
  return { ...envelope, start: response.headers.get('x-oneshot-start') }
}

async function callArmed(name: string) {
  await whenArmed(program, name)
  return call(name)
}

/** Those that are armed, or on their way. */
const idsOf = async (name: string) => (await findContainers(name)).map(({ Id }) => Id)

const replaced = (name: string, former: readonly string[]) =>
  eventually(
    () => idsOf(name),
    (ids) => ids.length === former.length && !ids.some((id) => former.includes(id)),
  )

describe('armed containers', () => {
  test('serve one call each, also when many come at once', async () => {
    await whenArmed(program, 'where', 3)
    const first = await Promise.all(Array.from({ length: 6 }, () => call('where')))
    await whenArmed(program, 'where', 3)
    const then = await Promise.all(Array.from({ length: 3 }, () => call('where')))
    expect(first.filter(({ start }) => start === 'armed')).toHaveLength(3)
    expect(then.map(({ start }) => start)).toEqual(['armed', 'armed', 'armed'])
    const folders = [...first, ...then].map(({ stdout }) => stdout)
    for (const folder of folders) expect(folder).toMatch(/^\/.+\n$/)
    expect(new Set(folders).size).toBe(9)
  })

  test('that somebody removes are replaced', async () => {
    await whenArmed(program, 'steady')
    const [former] = await idsOf('steady')
    await docker('rm', '--force', former!)
    await replaced('steady', [former!])
    expect(await callArmed('steady')).toMatchObject({ start: 'armed', stdout: 'steady\n' })
  })

  test('that somebody has just removed do not fail the call that comes next', async () => {
    await whenArmed(program, 'steady')
    const [former] = await idsOf('steady')
    await docker('rm', '--force', former!)
    expect(await call('steady')).toMatchObject({ exitCode: 0, stdout: 'steady\n' })
  })

  test('of a definition that has changed are drained', async () => {
    await whenArmed(program, 'changing', 2)
    const former = await idsOf('changing')
    const changed = functions.changing.replace('before', 'after')
    await writeFile(join(program.functionsFolder, 'changing.yml'), changed)
    await replaced('changing', former)
    await whenArmed(program, 'changing', 2)
    const answers = await Promise.all(['changing', 'changing'].map(call))
    for (const answer of answers) {
      expect(answer).toMatchObject({ start: 'armed', stdout: 'after\n' })
    }
  })

  test('of a definition that is gone are drained', async () => {
    const file = join(program.functionsFolder, 'passing.yml')
    await writeFile(file, functions.steady)
    await whenArmed(program, 'passing')
    expect(await idsOf('passing')).toHaveLength(1)
    await rm(file)
    await eventually(
      () => idsOf('passing'),
      (ids) => ids.length === 0,
    )
  })

  test('of an image whose tag has moved are drained', async () => {
    await whenArmed(program, 'tagged', 2)
    const former = await idsOf('tagged')
    expect((await callArmed('tagged')).stdout).toBe(`${VERSIONS[0]}\n`)
    await docker('tag', VERSIONS[1]!, TAG)
    await replaced('tagged', former)
    const image = await docker('image', 'inspect', '--format', '{{.Id}}', TAG)
    await eventually(
      () => findContainers('tagged'),
      (found) => found.every(({ ImageID }) => ImageID === image),
      8_000,
    )
    const { start, stdout } = await callArmed('tagged')
    expect([start, stdout]).toEqual(['armed', `${VERSIONS[1]}\n`])
  })

  test('get a secret that has changed since', async () => {
    expect(await callArmed('secretive')).toMatchObject({ start: 'armed', stdout: 'first' })
    await whenArmed(program, 'secretive')
    await writeFile(join(secrets, 'token'), 'second')
    expect(await call('secretive')).toMatchObject({ start: 'cold', stdout: 'second' })
    expect(await callArmed('secretive')).toMatchObject({ start: 'armed', stdout: 'second' })
  })

  test('are stopped when their client goes away', async () => {
    await whenArmed(program, 'forever')
    const [id] = await idsOf('forever')
    const leaving = new AbortController()
    const headers = { Accept: 'text/event-stream' }
    const init = { method: 'POST', headers, signal: leaving.signal }
    const response = await fetch(`${program.url}/function/forever`, init)
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader?.read())?.value).toContain('begun')
    expect(await idsOf('forever')).toContain(id)
    leaving.abort()
    await eventually(
      () => idsOf('forever'),
      (ids) => ids.length === 1 && !ids.includes(id!),
    )
  })
})

describe('what cannot be held back runs cold, and says why:', () => {
  test.each([
    ['no-shell', 'no shell\n', 'its image has no /bin/sh'],
    ['typist', 'typed\r\n', 'it has a tty'],
    ['uid', '7\n', `the gate can't set the environment variable "UID"`],
    ['unarmed', 'unarmed\n', 'warm is 0'],
  ])('%s', async (name, stdout, cold) => {
    expect(await call(name)).toMatchObject({ start: 'cold', exitCode: 0, stdout })
    const detail = await (await fetch(`${program.url}/functions/${name}`)).json()
    expect(detail).toMatchObject({ cold })
    await noContainers(name)
  })

  test('but not what one call alone asks for', async () => {
    expect((await call('named?name=-x')).start).toBe('cold')
    const detail = await (await fetch(`${program.url}/functions/named`)).json()
    expect(detail).not.toHaveProperty('cold')
    await whenArmed(program, 'named')
    expect(await call('named?name=echo')).toMatchObject({ start: 'armed', stdout: 'named\n' })
  })

  test('but what can be armed has no reason to give', async () => {
    await whenArmed(program, 'steady')
    const detail = await (await fetch(`${program.url}/functions/steady`)).json()
    expect(detail).not.toHaveProperty('cold')
  })
})

describe('a network namespace made ahead', () => {
  const isShared = (mode: string) => mode.startsWith('container:')
  const networkModes = async () => {
    const running = await findContainers()
    return running
      .filter(({ State }) => State === 'running')
      .map(({ HostConfig }) => HostConfig.NetworkMode ?? '')
  }

  test('is never in two running containers at once', async () => {
    const calls = Promise.all(
      Array.from({ length: 6 }, async () => {
        for (let turn = 0; turn < 6; turn += 1) await call('where')
      }),
    ).then(() => undefined)
    const look = () => Promise.race([calls, networkModes()])
    let shared = 0
    for (let seen = await look(); seen; seen = await look()) {
      const modes = seen.filter(isShared)
      expect(new Set(modes).size).toBe(modes.length)
      shared = Math.max(shared, modes.length)
    }
    expect(shared).toBeGreaterThan(1)
  })

  test('outlives a container of its that the engine refuses', async () => {
    const holders = async () => {
      const all = await findContainers()
      return all
        .filter(({ Names }) => Names[0]?.startsWith('/oneshot-namespace-'))
        .map(({ Id }) => Id)
    }
    const before = await eventually(holders, (ids) => ids.length > 0)
    for (let turn = 0; turn < 3; turn += 1) {
      const { error } = await call('nobody')
      expect(error).toMatchObject({ code: 'container_refused' })
    }
    expect(await holders()).toEqual(expect.arrayContaining(before))
  })

  test('has files that its container cannot change, and no interface but loopback', async () => {
    const isReady = async () => {
      await whenArmed(program, 'scribbler', 2)
      const found = await findContainers('scribbler')
      const isEach = found.every(({ HostConfig }) => isShared(HostConfig.NetworkMode ?? ''))
      if (!isEach) await call('scribbler')
      return isEach
    }
    await eventually(isReady, (ready) => ready)
    const { start, stdout, stderr } = await call('scribbler')
    expect([start, stdout]).toEqual(['armed', 'lo\n'])
    expect(stderr.match(/Read-only file system/g)).toHaveLength(3)
  })
})

test('a gateway that ends leaves nothing behind, though it is about to arm', async () => {
  const { steady, where } = functions
  const other = await startProgram({ functions: { 'other-a': steady, 'other-b': where } })
  const [container] = await eventually(
    () => findContainers('other-b'),
    (found) => found.length > 0,
  )
  const label = `oneshot.gateway=${container?.Labels['oneshot.gateway']}`
  const made = () => docker('ps', '--all', '--quiet', '--filter', `label=${label}`)
  expect(await made()).not.toBe('')
  expect(await other.stop()).toBe(0)
  expect(await made()).toBe('')
})
