import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import ssh2 from 'ssh2'
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { ask } from '../../src/engine/docker.ts'
import { connectEndpoint, findSocketPath } from '../../src/engine/endpoint.ts'
import { parseSshUrl } from '../../src/engine/ssh.ts'

const run = promisify(execFile)
const onTrouble = () => {}

describe('an address', () => {
  test.each([
    ['tcp://10.0.0.1:2375', 'http', '10.0.0.1', '2375'],
    ['tcp://10.0.0.1:2376', 'https', '10.0.0.1', '2376'],
    ['tcp://10.0.0.1', 'http', '10.0.0.1', 2375],
    ['10.0.0.1:4243', 'http', '10.0.0.1', '4243'],
    ['https://docker.example', 'https', 'docker.example', 2376],
    ['tcp://[::1]:2375', 'http', '::1', '2375'],
  ])('%s is connected to', (host, protocol, name, port) => {
    const { docker } = connectEndpoint({ host, onTrouble })
    expect(docker.modem).toMatchObject({ protocol, host: name, port })
  })

  test('is connected to over TLS if that is asked for, without certificates of its own as well', () => {
    const { docker } = connectEndpoint({ host: 'tcp://10.0.0.1', isSecure: true, onTrouble })
    expect(docker.modem).toMatchObject({ protocol: 'https', port: 2376 })
  })

  test('that is a socket is its path', async () => {
    const { docker } = connectEndpoint({ host: 'unix:///tmp/it.sock', onTrouble })
    expect(await findSocketPath(docker)).toEqual(['/tmp/it.sock'])
  })

  test.each(['tcp://a b', 'ftp://host', 'unix://relative', 'tcp://a:1,tcp://b:2'])(
    'that is none is refused, with the forms that there are: %s',
    (host) => {
      expect(() => connectEndpoint({ host, onTrouble })).toThrow(/unix:.*tcp:.*ssh:/)
    },
  )

  test('has the certificates of its folder, and is told of where one is missing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'oneshot-certificates-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    for (const name of ['ca', 'cert']) await writeFile(join(folder, `${name}.pem`), name)
    const options = { host: 'tcp://10.0.0.1:2375', certificates: folder, onTrouble }
    expect(() => connectEndpoint(options)).toThrow(/DOCKER_CERT_PATH.*key\.pem/)
    await writeFile(join(folder, 'key.pem'), 'key')
    const { docker } = connectEndpoint(options)
    const { protocol, ca, cert, key } = docker.modem as unknown as Record<string, unknown>
    expect([protocol, ca, cert, key].map(String)).toEqual(['https', 'ca', 'cert', 'key'])
  })
})

describe('an address for ssh', () => {
  test.each([
    ['ssh://host', { host: 'host', socketPath: '/var/run/docker.sock' }],
    [
      'ssh://ann@host:2222/run/d.sock',
      { host: 'host', user: 'ann', port: '2222', socketPath: '/run/d.sock' },
    ],
    ['ssh://[::1]', { host: '::1', socketPath: '/var/run/docker.sock' }],
  ])('%s is taken apart', (url, target) => {
    expect(parseSshUrl(url)).toEqual(target)
  })

  test.each(['ssh://', 'ssh://ann:secret@host', 'ssh://host?x=1', 'ssh://a%zz@host'])(
    '%s is refused',
    (url) => {
      expect(() => parseSshUrl(url)).toThrow(/ssh:\/\/\[USER@\]HOST/)
    },
  )
})

test('a process that ends without closing its connections ends their ssh', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-ssh-end-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const script = `#!/bin/sh
trap ': >${folder}/ended; exit' TERM
: >${folder}/begun
for second in 1 2 3 4 5 6 7 8 9; do sleep 1; done
`
  await writeFile(join(folder, 'ssh'), script)
  await chmod(join(folder, 'ssh'), 0o755)
  const module = join(import.meta.dirname, '../../src/engine/ssh.ts')
  const program = `
    import { existsSync } from 'node:fs'
    import { forwardSocket } from ${JSON.stringify(module)}
    forwardSocket({ host: 'h', socketPath: '/s', onTrouble() {} })
    setInterval(() => existsSync(${JSON.stringify(join(folder, 'begun'))}) && process.exit(), 50)`
  const env = { PATH: folder + delimiter + process.env['PATH'], TMPDIR: folder }
  await run(process.execPath, ['--input-type=module', '--eval', program], { env, timeout: 20_000 })
  const left = async () => (await readdir(folder)).sort()
  await vi.waitFor(async () => expect(await left()).toEqual(['begun', 'ended', 'ssh']), 5_000)
})

describe('over ssh', () => {
  let folder: string
  const path = process.env['PATH']

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'oneshot-ssh-test-'))
    for (const name of ['host', 'client']) {
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)])
    }
    const { stdout: program } = await run('sh', ['-c', 'command -v ssh'])
    // The real one, with a configuration of the test's own.
    const wrapper = `#!/bin/sh\nexec ${program.trim()} -F ${folder}/config "$@"\n`
    await writeFile(join(folder, 'ssh'), wrapper)
    await chmod(join(folder, 'ssh'), 0o755)
    process.env['PATH'] = folder + delimiter + path
    await writeFile(
      join(folder, 'config'),
      `Host *\n  IdentityFile ${folder}/client\n  UserKnownHostsFile ${folder}/known\n`,
    )
    return async () => {
      process.env['PATH'] = path
      await rm(folder, { recursive: true })
    }
  })

  /** An engine that answers every request, behind an ssh server that knows the client's key. */
  async function startHost(port = 0) {
    const engine = createServer((request, response) => {
      response.end(JSON.stringify({ asked: request.url }))
    })
    const socket = join(folder, `engine-${crypto.randomUUID()}.sock`)
    engine.listen(socket)
    const known = ssh2.utils.parseKey(await readFile(join(folder, 'client.pub')))
    if (known instanceof Error) throw known
    const clients = new Set<ssh2.Connection>()
    const server = new ssh2.Server(
      { hostKeys: [await readFile(join(folder, 'host'))] },
      (client) => {
        clients.add(client)
        client.on('error', () => {})
        client.on('close', () => clients.delete(client))
        client.on('authentication', (context) => {
          const isKnown =
            context.method === 'publickey' && context.key.data.equals(known.getPublicSSH())
          if (isKnown) context.accept()
          else context.reject(['publickey'])
        })
        client.on('openssh.streamlocal', (accept, _reject, { socketPath }) => {
          const there = connect(socketPath)
          const here = accept()
          here.pipe(there).pipe(here)
          for (const end of [here, there]) end.on('error', () => {})
        })
      },
    )
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address() as AddressInfo
    const key = await readFile(join(folder, 'host.pub'), 'utf8')
    await writeFile(join(folder, 'known'), `[127.0.0.1]:${address.port} ${key}`)
    const close = async () => {
      for (const client of clients) client.end()
      server.close()
      engine.closeAllConnections()
      engine.close()
      await once(server, 'close')
    }
    onTestFinished(close)
    return { url: `ssh://ann@127.0.0.1:${address.port}${socket}`, clients, port: address.port }
  }

  const request = { method: 'GET', path: '/_ping', withinMs: 5_000 } as const

  test('the engine answers, and again after the connection was cut', async () => {
    const host = await startHost()
    const troubles: string[] = []
    const endpoint = connectEndpoint({ host: host.url, onTrouble: (it) => troubles.push(it) })
    onTestFinished(() => endpoint.close())
    const answers = () =>
      expect(ask(endpoint.docker, request)).resolves.toEqual({ asked: '/_ping' })
    await vi.waitFor(answers, { timeout: 10_000, interval: 50 })
    for (const client of host.clients) client.end()
    await vi.waitFor(() => expect(troubles).toHaveLength(1), { timeout: 10_000 })
    await vi.waitFor(answers, { timeout: 10_000, interval: 50 })
  }, 40_000)

  test('a host that is not known is told of, and nothing is asked of anybody', async () => {
    const host = await startHost()
    await writeFile(join(folder, 'known'), '')
    const told = Promise.withResolvers<string>()
    const endpoint = connectEndpoint({ host: host.url, onTrouble: told.resolve })
    onTestFinished(() => endpoint.close())
    expect(await told.promise).toMatch(/host key/i)
    await expect(ask(endpoint.docker, request)).rejects.toMatchObject({ code: 'ENOENT' })
  }, 20_000)
})
