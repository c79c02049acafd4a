import { once } from 'node:events'
import { connect } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { Envelope } from '../../src/core/envelope.ts'
import { Problem } from '../../src/http/errors.ts'
import { post, send, serve } from './serve.ts'

const exited = (exitCode: number) => ({ kind: 'exited', exitCode, oomKilled: false }) as const
const headerNames =
  'X-Oneshot-State, X-Oneshot-Start, X-Oneshot-Exit-Code, X-Duration-Seconds, Server-Timing'
const endOfStream = {
  'x-oneshot-state': 'succeeded',
  'x-oneshot-start': 'cold',
  'x-oneshot-exit-code': '0',
  'x-duration-seconds': expect.stringMatching(/^\d+\.\d{3}$/) as string,
  'server-timing': expect.stringMatching(/^queue;dur=\d+, run;dur=1$/) as string,
}
const octets = { Accept: 'application/octet-stream' }

describe('an envelope', () => {
  test('tells all of a call that ended by itself, with 200 whatever its exit code', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, 'input', { 'X-Call-Id': 'mine-1' })
    const { io, end } = await next()
    expect(await text(io.stdin as never)).toBe('input')
    await io.stdout(Buffer.from('out'))
    await io.stderr(Buffer.from([0xff]))
    end(exited(3))
    const { status, headers, body } = await answer
    expect(status).toBe(200)
    const envelope = Envelope.parse(JSON.parse(String(await body())))
    expect(envelope).toMatchObject({
      function: 'test',
      state: 'failed',
      reason: 'exited',
      exitCode: 3,
      stdout: 'out',
      stderr: '/w==',
      stdoutEncoding: 'utf8',
      stderrEncoding: 'base64',
      truncated: false,
      engine: 'container',
      node: 'fake',
    })
    expect(headers).toMatchObject({
      'x-call-id': 'mine-1',
      'x-oneshot-invocation-id': envelope.id,
      'x-oneshot-state': 'failed',
      'x-oneshot-exit-code': '3',
      'x-duration-seconds': expect.stringMatching(/^\d+\.\d{3}$/) as string,
      'server-timing': expect.stringMatching(/^queue;dur=\d+, run;dur=1$/) as string,
    })
  })

  test.each([
    ['timed out', 504, { kind: 'stopped', by: 'timed_out', exitCode: 137 }, 'timed_out'],
    ['ran out of memory', 200, { kind: 'exited', exitCode: 137, oomKilled: true }, 'oom_killed'],
    ['was lost', 503, { kind: 'lost', failure: { code: 'engine_failed', detail: 'x' } }, 'lost'],
    [
      'could not be started',
      502,
      { kind: 'not_started', failure: { code: 'image_not_found', detail: 'x' } },
      'not_started',
    ],
    [
      'found no room',
      503,
      { kind: 'not_started', failure: { code: 'unschedulable', detail: 'x' } },
      'not_started',
    ],
    [
      'had too much input for the engine',
      413,
      { kind: 'not_started', failure: { code: 'input_too_large', detail: 'x' } },
      'not_started',
    ],
    [
      'had an input for which the engine has no stdin',
      422,
      { kind: 'not_started', failure: { code: 'stdin_unsupported', detail: 'x' } },
      'not_started',
    ],
  ] as const)('of a call that %s is answered %i', async (_, expected, end, reason) => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`)
    ;(await next()).end(end)
    const { status, body } = await answer
    expect(status).toBe(expected)
    expect(Envelope.parse(JSON.parse(String(await body())))).toMatchObject({ reason })
  })

  test('holds no more output than the definition allows, while all of it is taken', async () => {
    const limits = { inputBytes: 10, outputBytes: 4, logBytes: 10 }
    const { url, next } = await serve({ limits })
    const answer = post(`${url}/function/test`)
    const { io, end } = await next()
    for (let i = 0; i < 100; i += 1) expect(io.stdout(Buffer.from('abc'))).toBeUndefined()
    end(exited(0))
    const { body } = await answer
    expect(JSON.parse(String(await body()))).toMatchObject({ stdout: 'abca', truncated: true })
  })
})

describe('a raw answer', () => {
  test('that is short has status and exit code in its head', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { Accept: 'text/plain' })
    const { io, end } = await next()
    await io.stdout(Buffer.from('half'))
    await io.stderr(Buffer.from('not shown'))
    end(exited(4))
    const { status, headers, body } = await answer
    expect(status).toBe(500)
    expect(headers).toMatchObject({
      'x-oneshot-exit-code': '4',
      'x-oneshot-state': 'failed',
      'content-type': 'text/plain; charset=utf-8',
    })
    expect(String(await body())).toBe('half')
  })

  test.each([
    [502, { kind: 'not_started', failure: { code: 'image_not_found', detail: 'no image' } }],
    [503, { kind: 'not_started', failure: { code: 'unschedulable', detail: 'no room' } }],
    [413, { kind: 'not_started', failure: { code: 'input_too_large', detail: 'too much' } }],
    [422, { kind: 'not_started', failure: { code: 'stdin_unsupported', detail: 'no stdin' } }],
    [503, { kind: 'lost', failure: { code: 'engine_failed', detail: 'no engine' } }],
  ] as const)('is a problem with %i if the engine failed', async (expected, taskEnd) => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', octets)
    const { io, end } = await next()
    await io.stdout(Buffer.from('half'))
    end(taskEnd)
    const { status, headers, body } = await answer
    expect([status, headers['content-type']]).toEqual([expected, 'application/problem+json'])
    expect(Problem.parse(JSON.parse(String(await body())))).toMatchObject({
      status: expected,
      ...taskEnd.failure,
    })
  })

  test('is what a definition with response: raw gives a client that does not mind', async () => {
    const { url, next } = await serve({ response: 'raw' })
    const answer = post(`${url}/function/test`, '', { Accept: '*/*' })
    const { io, end } = await next()
    await io.stdout(Buffer.from('raw'))
    end(exited(0))
    const { status, headers, body } = await answer
    expect([status, headers['content-type'], String(await body())]).toEqual([
      200,
      'application/octet-stream',
      'raw',
    ])
  })

  test('that is long streams while the command runs, and gives the exit code in the trailer', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', octets)
    const { io, end } = await next()
    await io.stdout(Buffer.alloc(60_000, 'a'))
    await io.stdout(Buffer.alloc(60_000, 'b'))
    const { response, status, headers } = await answer
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      'x-oneshot-state': 'running',
      trailer: headerNames,
    })
    end(exited(0))
    const body = await buffer(response)
    expect(body.equals(Buffer.from('a'.repeat(60_000) + 'b'.repeat(60_000)))).toBe(true)
    expect(response.trailers).toEqual(endOfStream)
  })

  test('that is long and fails is broken off', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', octets)
    const { io, end } = await next()
    await io.stdout(Buffer.alloc(100_000))
    const { body } = await answer
    end(exited(1))
    await expect(body()).rejects.toThrow('aborted')
  })

  test('that is long comes whole to a client of HTTP/1.0, and is reset if it fails', async () => {
    const { url, next } = await serve()
    const ask = async (exitCode: number): Promise<string> => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.write('POST /function/test HTTP/1.0\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n')
      const { io, end } = await next()
      await io.stdout(Buffer.alloc(100_000, 'x'))
      end(exited(exitCode))
      return text(socket)
    }
    expect(await ask(0)).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nx{100000}$/)
    await expect(ask(1)).rejects.toThrow('ECONNRESET')
  })

  test('holds the command back while its reader is slow', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', octets)
    const { io, end } = await next()
    let taken: void | Promise<void>
    let written = 0
    do {
      taken = io.stdout(Buffer.alloc(1 << 20))
      written += 1 << 20
    } while (!taken && written < 1 << 30)
    expect(written).toBeLessThan(1 << 30)
    const { response } = await answer
    const reading = buffer(response)
    await taken
    end(exited(0))
    expect((await reading).length).toBe(written)
  })
})

describe('server-sent events', () => {
  test('bring lines as they come, then the end with the envelope', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { Accept: 'text/event-stream' })
    const { io, end } = await next()
    io.started?.()
    const { response, status, headers } = await answer
    expect([status, headers['content-type']]).toEqual([200, 'text/event-stream'])
    await io.stdout(Buffer.from('one\ntw'))
    const [first] = (await once(response, 'data')) as [Buffer]
    expect(String(first)).toBe('event: stdout\ndata: one\n\n')
    await io.stderr(Buffer.from('oops\r\n'))
    await io.stdout(Buffer.from('o\r\nthree\rfour'))
    end(exited(0))
    const rest = await text(response)
    expect(headers['trailer']).toBe(headerNames)
    expect(response.trailers).toEqual(endOfStream)
    const events = rest.split('\n\n').filter((event) => event !== '')
    expect(events.slice(0, -1)).toEqual([
      'event: stderr\ndata: oops',
      'event: stdout\ndata: two',
      'event: stdout\ndata: three',
      'event: stdout\ndata: four',
    ])
    const [, data] = /^event: end\ndata: (.*)$/.exec(events.at(-1) ?? '') ?? []
    expect(Envelope.parse(JSON.parse(data ?? ''))).toMatchObject({
      exitCode: 0,
      stdout: 'one\ntwo\r\nthree\rfour',
      stderr: 'oops\r\n',
    })
  })

  test('bring a line too long for one event in parts', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { Accept: 'text/event-stream' })
    const { io, end } = await next()
    await io.stdout(Buffer.from('x'.repeat(20_000)))
    end(exited(0))
    const events = String(await (await answer).body()).split('\n\n')
    expect(events[0]).toBe(`event: stdout.part\ndata: ${'x'.repeat(16_384)}`)
    expect(events[1]).toBe(`event: stdout\ndata: ${'x'.repeat(20_000 - 16_384)}`)
  })
})

describe('the lines of server-sent events', () => {
  async function eventsOf(...chunks: readonly string[]): Promise<string[]> {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { Accept: 'text/event-stream' })
    const { io, end } = await next()
    for (const chunk of chunks) await io.stdout(Buffer.from(chunk))
    end(exited(0))
    const events = String(await (await answer).body()).split('\n\n')
    return events.slice(0, -2)
  }

  test('end once where CR and LF come apart', async () => {
    expect(await eventsOf('one\r', '\ntwo\r', 'three\r', '\n', '\n')).toEqual(
      ['one', 'two', 'three', ''].map((line) => `event: stdout\ndata: ${line}`),
    )
  })

  test('are never cut within a character', async () => {
    const x = 'x'.repeat(16_383)
    expect(await eventsOf(`${x}😀y\n`)).toEqual([
      `event: stdout.part\ndata: ${x}`,
      'event: stdout\ndata: 😀y',
    ])
  })

  test('come in parts if they are long, also where their end came with them', async () => {
    const x = 'x'.repeat(16_384)
    expect(await eventsOf(`${x}yz\nnext\n`)).toEqual([
      `event: stdout.part\ndata: ${x}`,
      'event: stdout\ndata: yz',
      'event: stdout\ndata: next',
    ])
  })
})

describe('a fault after the head was sent', () => {
  test('is the last of the server-sent events, in the words of a problem', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { Accept: 'text/event-stream' })
    const { io, fail } = await next()
    io.started?.()
    await io.stdout(Buffer.from('half a line'))
    const { response } = await answer
    fail(new Error('the secret is 42'))
    const [line, error, rest] = (await text(response)).split('\n\n')
    expect([line, rest]).toEqual(['event: stdout\ndata: half a line', ''])
    const [, data] = /^event: error\ndata: (.*)$/.exec(error ?? '') ?? []
    expect(Problem.parse(JSON.parse(data ?? ''))).toMatchObject({ code: 'internal' })
    expect(data).not.toContain('42')
  })

  test('breaks a raw answer off', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', octets)
    const { io, fail } = await next()
    await io.stdout(Buffer.alloc(100_000))
    const { body } = await answer
    fail(new Error('no engine'))
    await expect(body()).rejects.toThrow('aborted')
  })
})

describe('a request', () => {
  test.each(['nosuch', '..%2fhello', 'a%2fb', '%00', 'Hello'])(
    'for "%s" is answered 404',
    async (name) => {
      const { url } = await serve()
      const { status, headers, body } = await post(`${url}/function/${name}`)
      expect([status, headers['content-type']]).toEqual([404, 'application/problem+json'])
      expect(Problem.parse(JSON.parse(String(await body())))).toMatchObject({
        code: 'function_not_found',
      })
      expect(headers['x-call-id']).toMatch(/^[\w-]{36}$/)
    },
  )

  test('that says how long it is, and is too long, is refused before anything runs', async () => {
    const { url } = await serve({ limits: { inputBytes: 4, outputBytes: 4, logBytes: 10 } })
    const { status, body } = await post(`${url}/function/test`, 'too long')
    expect(status).toBe(413)
    expect(JSON.parse(String(await body()))).toMatchObject({ code: 'input_too_large' })
  })

  test('that turns out too long while it streams is answered 413, and its task is stopped', async () => {
    const { url, next } = await serve({ limits: { inputBytes: 4, outputBytes: 4, logBytes: 10 } })
    const sent = send(`${url}/function/test`, { 'Transfer-Encoding': 'chunked' })
    sent.write('abcd')
    const { io, stop, end } = await next()
    stop.addEventListener('abort', () => end({ kind: 'stopped', by: stop.reason, exitCode: 143 }))
    sent.write('e')
    await expect(text(io.stdin as never)).rejects.toMatchObject({ code: 'input_too_large' })
    const response = await sent.response
    sent.abort()
    expect(response.statusCode).toBe(413)
  })

  test('reaches the command while it is still being sent', async () => {
    const { url, next } = await serve()
    const sent = send(`${url}/function/test`, { 'Transfer-Encoding': 'chunked' })
    sent.write('first')
    const { io, end } = await next()
    const input = io.stdin?.[Symbol.asyncIterator]()
    expect(String((await input?.next())?.value)).toBe('first')
    sent.write('second')
    expect(String((await input?.next())?.value)).toBe('second')
    sent.end()
    expect((await input?.next())?.done).toBe(true)
    end(exited(0))
    expect((await sent.response).statusCode).toBe(200)
  })

  test('is asked for its body only once the body is wanted', async () => {
    const { url, next } = await serve()
    const sent = send(`${url}/function/test`, {
      Expect: '100-continue',
      'Transfer-Encoding': 'chunked',
    })
    const { io, end } = await next()
    const input = text(io.stdin as never)
    await sent.continued
    sent.write('x')
    sent.end()
    expect(await input).toBe('x')
    end(exited(0))
    expect((await sent.response).statusCode).toBe(200)
  })

  test.each(['text/event-stream', 'application/octet-stream'])(
    'is asked for its body before an answer in %s begins, after which it would be kept',
    async (accept) => {
      const { url, next } = await serve()
      const sent = send(`${url}/function/test`, {
        Accept: accept,
        Expect: '100-continue',
        'Transfer-Encoding': 'chunked',
      })
      const { io, end } = await next()
      io.started?.()
      void io.stdout(Buffer.alloc(100_000, 'x'))
      await sent.continued
      const input = text(io.stdin as never)
      sent.write('x')
      sent.end()
      expect(await input).toBe('x')
      const answer = text(await sent.response)
      end(exited(0))
      expect(await answer).not.toContain('HTTP/1.1')
    },
  )

  test('that is refused is not asked for its body', async () => {
    const { url } = await serve()
    const sent = send(`${url}/function/nosuch`, {
      Expect: '100-continue',
      'Transfer-Encoding': 'chunked',
    })
    const first = await Promise.race([sent.continued.then(() => 'asked'), sent.response])
    expect(first).toMatchObject({ statusCode: 404 })
    sent.abort()
  })

  test('whose client goes away has its task cancelled', async () => {
    const { url, next } = await serve()
    const sent = send(`${url}/function/test`)
    sent.end()
    const { stop, end } = await next()
    const stopped = once(stop, 'abort')
    sent.abort()
    await stopped
    expect(stop.reason).toBe('cancelled')
    end({ kind: 'stopped', by: 'cancelled', exitCode: 143 })
  })

  test('beyond a full queue is answered 429, and told when to come again', async () => {
    const { url, next } = await serve({}, { concurrency: 1, queueLength: 0 })
    const first = post(`${url}/function/test`)
    const { end } = await next()
    const { status, headers, body } = await post(`${url}/function/test`)
    expect([status, headers['retry-after']]).toEqual([429, '1'])
    expect(JSON.parse(String(await body()))).toMatchObject({ code: 'queue_full' })
    end(exited(0))
    expect((await first).status).toBe(200)
  })

  test('with a call id that is no fit one gets one of ours', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`, '', { 'X-Call-Id': 'no good <b>' })
    ;(await next()).end(exited(0))
    expect((await answer).headers['x-call-id']).toMatch(/^[\w-]{36}$/)
  })

  test('with a fault of ours behind it is answered 500, and nothing of the fault leaks', async () => {
    const { url, next } = await serve()
    const answer = post(`${url}/function/test`)
    ;(await next()).fail(new Error('the secret is 42'))
    const { status, body } = await answer
    expect(status).toBe(500)
    const problem = String(await body())
    expect(problem).not.toContain('42')
    expect(JSON.parse(problem)).toMatchObject({ code: 'internal' })
  })
})

describe('parameters', () => {
  const spec = { parameters: { n: { type: 'integer', required: true } } } as const

  test('stand in the query, and leave the body to stdin', async () => {
    const { url, next } = await serve(spec)
    const answer = post(`${url}/function/test?n=7`, 'body')
    const { task, io, end } = await next()
    expect(task.container.environment['n']).toBe('7')
    expect(await text(io.stdin as never)).toBe('body')
    end(exited(0))
    expect((await answer).status).toBe(200)
  })

  test('may be the body as JSON, which then is not stdin', async () => {
    const { url, next } = await serve(spec)
    const answer = post(`${url}/function/test`, '{"n":7}', { 'Content-Type': 'application/json' })
    const { task, io, end } = await next()
    expect(task.container.environment['n']).toBe('7')
    expect(io.stdin).toBeUndefined()
    end(exited(0))
    expect((await answer).status).toBe(200)
  })

  test('that are wrong are each pointed to, with 422', async () => {
    const { url } = await serve(spec)
    const { status, body } = await post(`${url}/function/test?n=x&other=1`)
    expect(status).toBe(422)
    const { errors } = Problem.parse(JSON.parse(String(await body())))
    expect(errors?.map(({ pointer }) => pointer).sort()).toEqual(['#/n', '#/other'])
  })

  const json = { 'Content-Type': 'application/json' }

  test('that do not come before the timeout are answered 408, and the connection is closed', async () => {
    const { url } = await serve({ ...spec, timeoutMs: 50 })
    const sent = send(`${url}/function/test`, { ...json, 'Transfer-Encoding': 'chunked' })
    sent.write('{"n":')
    const response = await sent.response
    expect([response.statusCode, response.headers.connection]).toEqual([408, 'close'])
    expect(JSON.parse(await text(response))).toMatchObject({ code: 'request_timeout' })
    await sent.closed
  })

  test('that took most of the timeout to come leave only the rest of it to the command', async () => {
    let now = 0
    const { url, next } = await serve({ ...spec, timeoutMs: 60_000 }, { clock: () => now })
    const sent = send(`${url}/function/test`, { ...json, Expect: '100-continue' })
    await sent.continued
    now = 59_990
    sent.write('{"n":7}')
    sent.end()
    const { stop, end } = await next()
    if (!stop.aborted) await once(stop, 'abort')
    end({ kind: 'stopped', by: stop.reason, exitCode: 143 })
    expect((await sent.response).statusCode).toBe(504)
  })

  test('as broken JSON are answered 400', async () => {
    const { url } = await serve(spec)
    const { status } = await post(`${url}/function/test`, '{"n":', {
      'Content-Type': 'application/json',
    })
    expect(status).toBe(400)
  })
})
