import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { docker } from '../docker/docker-client.ts'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, startGateway } from './gateway.ts'
import type { PageServer } from './page-server.ts'
import { startPageServer } from './page-server.ts'

let gateway: Gateway
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => gateway?.stop())

const call = (name: string, body: string | null = null) => gateway.envelope(name, { body })
const asking = (name: string, query: Readonly<Record<string, string>>) =>
  gateway.envelope(name, { query })

describe.concurrent('hello', () => {
  test('greets the name it is given', async () => {
    expect(await call('hello', 'world')).toMatchObject({ exitCode: 0, stdout: 'Hello, world!\n' })
  })

  test('greets a stranger without a name', async () => {
    expect(await call('hello')).toMatchObject({ exitCode: 0, stdout: 'Hello, stranger!\n' })
  })

  test('takes a name for nothing but a name', async () => {
    expect(await call('hello', '$(id) `id` "')).toMatchObject({ stdout: 'Hello, $(id) `id` "!\n' })
  })
})

describe.concurrent('echo', () => {
  test('gives back what it is given, byte for byte', async () => {
    const bytes = randomBytes(300_000)
    expect((await gateway.raw('echo', { body: bytes })).equals(bytes)).toBe(true)
  })
})

describe.concurrent('fail', () => {
  test('exits with the code of your choice and says so on stderr', async () => {
    const answer = await asking('fail', { code: '42' })
    expect(answer).toMatchObject({ status: 200, exitCode: 42, stdout: '' })
    expect(answer.stderr).toContain('42')
  })

  test('exits with 1 unless told otherwise', async () => {
    expect(await call('fail')).toMatchObject({ exitCode: 1 })
  })

  test.each(['256', '-1', '1.5', 'x'])('refuses %s, which is no exit code', async (code) => {
    expect(await asking('fail', { code })).toMatchObject({ status: 422 })
  })
})

describe.concurrent('sleep', () => {
  test('sleeps as long as told', async () => {
    const start = performance.now()
    expect(await asking('sleep', { seconds: '1.5' })).toMatchObject({ exitCode: 0 })
    expect(performance.now() - start).toBeGreaterThanOrEqual(1500)
  })
})

describe.concurrent('flood', () => {
  test.each([0, 1, 3_000_000])('prints %d bytes', async (bytes) => {
    expect(await gateway.raw('flood', { query: { bytes: String(bytes) } })).toHaveLength(bytes)
  })

  test('prints 1 MiB unless told otherwise', async () => {
    expect((await call('flood')).stdout).toHaveLength(2 ** 20)
  })
})

describe.concurrent('env', () => {
  test('prints what a function sees', async () => {
    const { stdout } = await call('env')
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining(['GREETING=hello', 'ONESHOT_FUNCTION=env']),
    )
  })
})

describe('href-counter', () => {
  const network = `oneshot-test-pages-${process.pid}`
  const name = `oneshot-test-page-server-${process.pid}`
  let pages: PageServer
  let counters: Gateway
  beforeAll(async () => {
    pages = await startPageServer(name, PAGE)
    const options = engine === 'swarm' ? ['--driver=overlay', '--attachable'] : []
    await docker('network', 'create', ...options, network)
    await pages.join(network)
    const file = join(gateway.program.functionsFolder, 'href-counter.yml')
    const bridge = await readFile(file, 'utf8')
    const host = bridge.replace('network_mode: bridge', 'network_mode: host')
    const named = bridge.replace('network_mode: bridge', `networks: [${network}]`)
    counters = await startGateway({
      functions: { bridge, host, named },
      env: { ONESHOT_ALLOW: 'host-network' },
    })
  })
  afterAll(async () => {
    await counters?.stop()
    await Promise.all(['bridge', 'host', 'named'].map((each) => nothingLeft(each)))
    await pages?.[Symbol.asyncDispose]()
    await docker('network', 'rm', network)
  })

  const count = (url: string) => asking('href-counter', { url })
  const origin = () => `http://${pages.address}`

  test('counts the internal and the external links of a page', async () => {
    const { stdout, stderr, exitCode } = await count(`${origin()}/cgi-bin/page`)
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: '{"internal":8,"external":4}\n',
      stderr: '',
      exitCode: 0,
    })
  })

  test('counts from where redirects have led', async () => {
    const { stdout } = await count(`${origin()}/cgi-bin/moved`)
    expect(stdout).toBe('{"internal":8,"external":4}\n')
  })

  test("counts on the host's network, and finds a server by its name on one of its own", async () => {
    const where = { bridge: pages.address, host: pages.address, named: pages.name }
    const answers = await Promise.all(
      Object.entries(where).map(([each, host]) =>
        counters.envelope(each, { query: { url: `http://${host}/cgi-bin/page` } }),
      ),
    )
    expect(answers.map(({ stdout, stderr }) => stdout + stderr)).toEqual(
      Array.from({ length: 3 }, () => '{"internal":8,"external":4}\n'),
    )
  })

  test('finds no link on an empty page', async () => {
    expect((await count(`${origin()}/empty`)).stdout).toBe('{"internal":0,"external":0}\n')
  })

  test('fails, and says why, if the page cannot be fetched', async () => {
    const answer = await count(`${origin()}/missing`)
    expect(answer).toMatchObject({ status: 200, exitCode: 1, stdout: '' })
    expect(answer.stderr).toContain('404')
  })

  test('takes a URL for nothing but a URL', async () => {
    const { stdout, stderr, exitCode } = await count(`${origin()}/$(id);id`)
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 })
    expect(stderr).toContain('/$(id);id')
    expect(stderr).not.toContain('uid=')
  })

  test.each(['', '?url=', '?url=page', '?url=--help'])('refuses the call %j', async (query) => {
    expect(await gateway.problem('href-counter', { query })).toMatchObject({ status: 422 })
  })

  test('fetches from http and https alone', async () => {
    expect(await count('file:///etc/passwd')).toMatchObject({ exitCode: 2, stdout: '' })
  })
})

/** Of HOST: 8 internal links, 4 external ones, and what looks like a link but is none. */
const PAGE = `<!DOCTYPE html>
<title><a href="/in-the-title">no link</a></title>
<A HREF="/1">upper case</A> <a href='2'>single quotes</a><a href=3>none, on the same line</a>
<a
  class="a > b"
  title='<b>'
  href = "http://HOST:1/4"
>over several lines</a>
<!-- <a href="http://commented.example/">no link</a> <a href="/commented">nor this</a>
--><a href="//HOST/5">as the page's scheme</a>
<a data-href="/no" href="?page=6">a query</a>
<a href="/7" href="http://second.example/">the first one counts</a>
<!--><a href=/8>behind an empty comment</a>

<a href="https://other.example/HOST">1</a> <a href="//cdn.example/">2</a>
<a href=HTTP://HOST@Third.Example:80/?x>3</a> <a href="http://HOST.example/">4</a>

<a href="mailto:a@b">mail</a> <a href="&#109;&#x61;ilto:a@b">hidden mail</a> <a href="tel:1">call</a>
<a href="javascript:open('<a href=http://no.example/>')">script</a> <a href="#top">fragment</a>
<a href="">itself</a> <a name="anchor">anchor</a> <abbr href="/no">other tag</abbr>
<link href="http://style.example/"> <area href="/no">
<script>document.write('<a href="/no">no link</a>')</script>
<a href="http://unclosed.example/"`
