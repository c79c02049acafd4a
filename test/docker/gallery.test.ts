import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Program } from '../program.ts'
import { startProgram } from '../program.ts'
import { docker } from './docker-client.ts'

let program: Program

beforeAll(async () => {
  program = await startProgram()
  return async () => {
    await program.stop()
  }
})

interface Answer {
  readonly status: number
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

async function call(path: string, body: string | null = null): Promise<Answer> {
  const response = await fetch(`${program.url}/function/${path}`, { method: 'POST', body })
  return { ...((await response.json()) as Answer), status: response.status }
}

async function callRaw(path: string, body: Uint8Array<ArrayBuffer> | null): Promise<Buffer> {
  const headers = { accept: 'application/octet-stream' }
  const url = `${program.url}/function/${path}`
  const response = await fetch(url, { method: 'POST', headers, body })
  return Buffer.from(await response.arrayBuffer())
}

describe('hello', () => {
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

describe('echo', () => {
  test('gives back what it is given, byte for byte', async () => {
    const bytes = randomBytes(300_000)
    expect((await callRaw('echo', bytes)).equals(bytes)).toBe(true)
  })
})

describe('fail', () => {
  test('exits with the code of your choice and says so on stderr', async () => {
    const answer = await call('fail?code=42')
    expect(answer).toMatchObject({ status: 200, exitCode: 42, stdout: '' })
    expect(answer.stderr).toContain('42')
  })

  test('exits with 1 unless told otherwise', async () => {
    expect(await call('fail')).toMatchObject({ exitCode: 1 })
  })

  test.each(['256', '-1', '1.5', 'x'])('refuses %s, which is no exit code', async (code) => {
    expect(await call(`fail?code=${code}`)).toMatchObject({ status: 422 })
  })
})

describe('sleep', () => {
  test('sleeps as long as told', async () => {
    const start = performance.now()
    expect(await call('sleep?seconds=1.5')).toMatchObject({ exitCode: 0 })
    expect(performance.now() - start).toBeGreaterThanOrEqual(1500)
  })
})

describe('flood', () => {
  test.each([0, 1, 3_000_000])('prints %d bytes', async (bytes) => {
    expect(await callRaw(`flood?bytes=${bytes}`, null)).toHaveLength(bytes)
  })

  test('prints 1 MiB unless told otherwise', async () => {
    expect((await call('flood')).stdout).toHaveLength(2 ** 20)
  })
})

describe('env', () => {
  test('prints what a function sees', async () => {
    const { stdout } = await call('env')
    expect(stdout.split('\n')).toEqual(
      expect.arrayContaining(['GREETING=hello', 'ONESHOT_FUNCTION=env']),
    )
  })
})

describe('href-counter', () => {
  /** The host's address as containers on the default bridge see it. */
  let host: string
  let origin: string
  const pages = new Map<string, string>()

  const server = createServer((request, response) => {
    const page = pages.get(request.url ?? '')
    if (request.url === '/moved') response.writeHead(302, { location: `${origin}/page` })
    else response.writeHead(page === undefined ? 404 : 200, { 'content-type': 'text/html' })
    response.end(page)
  })

  beforeAll(async () => {
    const route = await docker('run', '--rm', '--network=bridge', 'busybox:stable', 'ip', 'route')
    host = /default via (\S+)/.exec(route)?.[1] ?? ''
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve))
    origin = `http://${host}:${(server.address() as AddressInfo).port}`
    pages.set('/page', page(host))
    pages.set('/empty', '')
  })

  afterAll(() => {
    server.close()
  })

  const count = (url: string) => call(`href-counter?url=${encodeURIComponent(url)}`)

  test('counts the internal and the external links of a page', async () => {
    const { stdout, stderr, exitCode } = await count(`${origin}/page`)
    expect({ stdout, stderr, exitCode }).toEqual({
      stdout: '{"internal":8,"external":4}\n',
      stderr: '',
      exitCode: 0,
    })
  })

  test('counts from where redirects have led', async () => {
    const { stdout } = await count(`${origin}/moved`)
    expect(stdout).toBe('{"internal":8,"external":4}\n')
  })

  test('finds no link on an empty page', async () => {
    expect((await count(`${origin}/empty`)).stdout).toBe('{"internal":0,"external":0}\n')
  })

  test('fails, and says why, if the page cannot be fetched', async () => {
    const answer = await count(`${origin}/missing`)
    expect(answer).toMatchObject({ status: 200, exitCode: 1, stdout: '' })
    expect(answer.stderr).toContain('404')
  })

  test('takes a URL for nothing but a URL', async () => {
    const { stdout, stderr, exitCode } = await count(`${origin}/$(id);id`)
    expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 1 })
    expect(stderr).toContain('/$(id);id')
    expect(stderr).not.toContain('uid=')
  })

  test.each(['', '?url=', '?url=page', '?url=--help'])('refuses the call %j', async (query) => {
    expect(await call(`href-counter${query}`)).toMatchObject({ status: 422 })
  })

  test('fetches from http and https alone', async () => {
    expect(await count('file:///etc/passwd')).toMatchObject({ exitCode: 2, stdout: '' })
  })
})

/** 8 internal links, 4 external ones, and what looks like a link but is none. */
function page(host: string): string {
  return `<!DOCTYPE html>
<title><a href="/in-the-title">no link</a></title>
<A HREF="/1">upper case</A> <a href='2'>single quotes</a><a href=3>none, on the same line</a>
<a
  class="a > b"
  title='<b>'
  href = "http://${host}:1/4"
>over several lines</a>
<!-- <a href="http://commented.example/">no link</a> <a href="/commented">nor this</a>
--><a href="//${host}/5">as the page's scheme</a>
<a data-href="/no" href="?page=6">a query</a>
<a href="/7" href="http://second.example/">the first one counts</a>
<!--><a href=/8>behind an empty comment</a>

<a href="https://other.example/${host}">1</a> <a href="//cdn.example/">2</a>
<a href=HTTP://${host}@Third.Example:80/?x>3</a> <a href="http://${host}.example/">4</a>

<a href="mailto:a@b">mail</a> <a href="&#109;&#x61;ilto:a@b">hidden mail</a> <a href="tel:1">call</a>
<a href="javascript:open('<a href=http://no.example/>')">script</a> <a href="#top">fragment</a>
<a href="">itself</a> <a name="anchor">anchor</a> <abbr href="/no">other tag</abbr>
<link href="http://style.example/"> <area href="/no">
<script>document.write('<a href="/no">no link</a>')</script>
<a href="http://unclosed.example/"`
}
