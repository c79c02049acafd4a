import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, request as requestHttp } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A real registry on this host that wants a login, behind a proxy that sees each request. */
export interface Registry extends AsyncDisposable {
  /** `host:port`. A loopback address: engines take those without TLS. */
  readonly address: string
  readonly username: string
  readonly password: string
  /** `METHOD /path`, in the order of arrival. */
  readonly requests: string[]
  /** Keeps manifests back until released. */
  hold(): { readonly asked: Promise<void>; readonly release: () => void }
}

export async function startRegistry(): Promise<Registry> {
  const { port, username, password, stop } = await startServer({ host: '127.0.0.1' })
  const proxy = await startProxy(port)
  return {
    ...proxy,
    username,
    password,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await stop()
    },
  }
}

export interface ServerOptions {
  readonly host: string
  /** The words before a command that make it run where that address is. */
  readonly at?: readonly string[]
}

/** The registry itself, without a proxy, on a port of its choice. */
export async function startServer({ host, at = [] }: ServerOptions) {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-registry-'))
  const username = 'ann'
  const password = 'pa:ss?>~wörd'
  // Debian's libcrypt knows bcrypt, and perl is part of each Debian.
  const { stdout: hash } = await run('perl', [
    '-e',
    'print crypt($ARGV[0], q($2b$04$oneshotoneshotoneshoto))',
    password,
  ])
  await writeFile(join(folder, 'htpasswd'), `${username}:${hash}\n`)
  await writeFile(
    join(folder, 'config.yml'),
    JSON.stringify({
      version: 0.1,
      storage: { inmemory: {} },
      http: { addr: `${host}:0` },
      auth: { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } },
    }),
  )
  const words = [...at, await findProgram(), 'serve', join(folder, 'config.yml')]
  const program = spawn(words[0] as string, words.slice(1), {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const exited = once(program, 'exit')
  const port = await Promise.race([
    readPort(program.stderr),
    exited.then(([code]) => Promise.reject(new Error(`docker-registry ended with ${code}`))),
  ])

  return {
    port,
    username,
    password,
    async stop() {
      program.kill()
      await exited
      await rm(folder, { recursive: true })
    },
  }
}

async function startProxy(port: number) {
  const requests: string[] = []
  let asked = Promise.withResolvers<void>()
  let held = Promise.resolve()

  const server = createServer((request, response) => {
    const { method, url = '' } = request
    requests.push(`${method} ${url}`)
    if (!url.includes('/manifests/')) return forward(request, response)
    asked.resolve()
    void held.then(() => forward(request, response))
  })
  const forward = (request: IncomingMessage, response: ServerResponse) => {
    const { method = '', url = '', headers } = request
    const onward = requestHttp({ host: '127.0.0.1', port, method, path: url, headers })
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      // An engine that cancels a pull breaks both off.
      pipeline(answer, response).catch(() => {})
    })
    pipeline(request, onward).catch(() => response.destroy())
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    hold() {
      asked = Promise.withResolvers()
      const gate = Promise.withResolvers<void>()
      held = gate.promise
      return { asked: asked.promise, release: gate.resolve }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** It chose its port itself, and names it as it begins to listen. Reads on, so that the pipe never fills. */
function readPort(log: NodeJS.ReadableStream): Promise<number> {
  return new Promise((resolve) => {
    createInterface(log).on('line', (line) => {
      const port = /listening on [\d.]+:(\d+)/.exec(line)?.[1]
      if (port !== undefined) resolve(Number(port))
    })
  })
}

/** Debian's docker-registry, unpacked instead of installed: the package would start a service. */
async function findProgram(): Promise<string> {
  const kept = join(import.meta.dirname, '../../node_modules/.cache/oneshot/docker-registry')
  for (const path of ['/usr/bin/docker-registry', kept]) {
    if (await exists(path)) return path
  }
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-docker-registry-'))
  try {
    const download = () => run('apt-get', ['download', 'docker-registry'], { cwd: folder })
    await download().catch(async () => {
      const update = ['apt-get', 'update', '-qq']
      await (process.getuid?.() === 0 ? run('env', update) : run('sudo', ['-n', ...update]))
      await download()
    })
    await run('sh', ['-c', 'dpkg-deb -x docker-registry_*.deb .'], { cwd: folder })
    await mkdir(join(kept, '..'), { recursive: true })
    // A copy and a rename: whoever looks at the same time finds it whole or not at all.
    await copyFile(join(folder, 'usr/bin/docker-registry'), `${kept}.${process.pid}`)
    await rename(`${kept}.${process.pid}`, kept)
    return kept
  } finally {
    await rm(folder, { recursive: true })
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
