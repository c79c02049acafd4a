import { once } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { describe, expect, test, vi } from 'vitest'
import { accept, exited, getJson, problemOf, run, start, watchWaiting } from './asynchronous.ts'
import { lost, retried } from '../gateway/working.ts'
import { send, serve } from './serve.ts'

const BEGINNING = Date.UTC(2026, 10, 21, 10)
const at = (seconds: number) => new Date(BEGINNING + seconds * 1000).toISOString()

interface Record {
  readonly time: string
  readonly stream: string
  readonly text: string
  readonly part?: true
}

/** A server whose clock stands still unless it is set, in seconds. */
async function serveAt() {
  let now = BEGINNING
  const served = await serve({}, { clock: () => now })
  const setClock = (seconds: number) => {
    now = BEGINNING + seconds * 1000
  }
  return { ...served, setClock }
}

async function getLogs(
  url: string,
  accepted = 'text/plain',
  headers: Readonly<{ [name: string]: string }> = {},
): Promise<string> {
  const answer = await fetch(url, { headers: { Accept: accepted, ...headers } })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toMatch(accepted)
  return answer.text()
}

async function getLines(url: string): Promise<Record[]> {
  const text = await getLogs(url, 'application/x-ndjson')
  return text.split(/\n(?=.)/).flatMap((line) => (line === '' ? [] : (JSON.parse(line) as Record)))
}

/** Lines with their ids: `1-2 text`. */
async function getEvents(url: string, lastId?: string): Promise<readonly string[]> {
  const headers = lastId === undefined ? {} : { 'Last-Event-ID': lastId }
  return toEvents(await getLogs(url, 'text/event-stream', headers))
}

function toEvents(text: string): readonly string[] {
  const events = text.split('\n\n').filter((event) => event.includes('"text"'))
  return events.map((event) => {
    const [, id = ''] = /^id: (.*)$/m.exec(event) ?? []
    const [, data = ''] = /^data: (.*)$/m.exec(event) ?? []
    return `${id} ${(JSON.parse(data) as Record).text}`
  })
}

/** Logs that are followed, read piece by piece. */
async function follow(url: string, accepted = 'text/plain', headers: OutgoingHttpHeaders = {}) {
  const sent = send(url, { Accept: accepted, ...headers }, 'GET')
  sent.end()
  const response: IncomingMessage = await sent.response
  expect(response.statusCode).toBe(200)
  const pieces = response.setEncoding('utf8')[Symbol.asyncIterator]()
  let text = ''
  return {
    ...sent,
    /** All until now, once that ends in `ending`. */
    async until(ending: string): Promise<string> {
      while (!text.endsWith(ending)) {
        const piece = (await pieces.next()) as IteratorResult<string>
        if (piece.done === true) throw new Error(`it ended with ${JSON.stringify(text)}`)
        text += piece.value
      }
      return text
    },
    async rest(): Promise<string> {
      for (let piece = await pieces.next(); piece.done !== true; piece = await pieces.next()) {
        text += piece.value as string
      }
      return text
    },
  }
}

describe('logs of a call that has ended', () => {
  test('are as text what was printed, byte for byte, both streams as they came', async () => {
    const served = await serve()
    const { id, io, end } = await start(served)
    const pieces = [Buffer.from('a\r\n'), Buffer.from([0xff, 0]), Buffer.from('\u{1f600}\rlast')]
    await io.stdout(pieces[0]!)
    await io.stderr(pieces[1]!)
    await io.stdout(pieces[2]!)
    end(exited(0))
    await getJson(`${served.url}/invocations/${id}?wait=30`)
    const answer = await fetch(`${served.url}/invocations/${id}/logs`, {
      headers: { 'X-Call-Id': 'mine' },
    })
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(answer.headers.get('x-call-id')).toBe('mine')
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(Buffer.concat(pieces))
  })

  test('are in NDJSON a line each, with its time and stream', async () => {
    const served = await serveAt()
    const { id, io, end } = await start(served)
    await io.stdout(Buffer.from('one\ntw'))
    served.setClock(1)
    await io.stderr(Buffer.from('wrong\r\n\n'))
    served.setClock(2)
    await io.stdout(Buffer.from('o\nlast \\"'))
    end(exited(0))
    await getJson(`${served.url}/invocations/${id}?wait=30`)
    expect(await getLines(`${served.url}/invocations/${id}/logs`)).toEqual([
      { time: at(0), stream: 'stdout', text: 'one' },
      { time: at(1), stream: 'stderr', text: 'wrong' },
      { time: at(1), stream: 'stderr', text: '' },
      { time: at(2), stream: 'stdout', text: 'two' },
      { time: at(2), stream: 'stdout', text: 'last \\"' },
    ])
  })

  test('are as events a line each, and then the end', async () => {
    const served = await serveAt()
    const id = await run(served, { out: 'a\rb\n', err: 'no end' })
    const record = (stream: string, text: string) => JSON.stringify({ time: at(0), stream, text })
    expect(await getLogs(`${served.url}/invocations/${id}/logs`, 'text/event-stream')).toBe(
      [
        `id: 1-1\nevent: stdout\ndata: ${record('stdout', 'a\rb')}\n\n`,
        `id: 1-2\nevent: stderr\ndata: ${record('stderr', 'no end')}\n\n`,
        'event: end\ndata: {}\n\n',
      ].join(''),
    )
  })

  test('followed end as they are', async () => {
    const served = await serve()
    const id = await run(served, { out: 'all\n' })
    const path = `${served.url}/invocations/${id}/logs`
    for (const query of ['follow=true', 'follow', 'follow=1', 'follow=false', 'follow&tail=5']) {
      expect(await getLogs(`${path}?${query}`)).toBe('all\n')
    }
  })

  test('of many megabytes are whole', async () => {
    const served = await serve({
      limits: { inputBytes: 1, outputBytes: 1, logBytes: 16 * 1024 ** 2 },
    })
    const { id, io, end } = await start(served)
    const piece = Buffer.alloc(64 * 1024, 'abc\n')
    for (let count = 0; count < 64; count += 1) await io.stdout(piece)
    end(exited(0))
    const path = `${served.url}/invocations/${id}`
    await getJson(`${path}?wait=30`)
    expect(await getLogs(`${path}/logs`)).toHaveLength(64 * piece.length)
    expect(await getLogs(`${path}/logs?tail=2`)).toBe('abc\nabc\n')
    const sent = send(`${path}/logs`, {}, 'GET')
    sent.end()
    await sent.response
    sent.abort()
    await sent.closed
    expect(await getLogs(`${path}/logs?tail=1`)).toBe('abc\n')
  })
})

describe('logs of a call that waits', () => {
  test('are empty', async () => {
    const served = await serve({}, { concurrency: 1 })
    await start(served)
    const id = await accept(served)
    expect(await getLogs(`${served.url}/invocations/${id}/logs`)).toBe('')
    expect(await getLogs(`${served.url}/invocations/${id}/logs?tail=3`)).toBe('')
  })

  test('followed come once it runs', async () => {
    const served = await serve({}, { concurrency: 1 })
    const first = await start(served)
    const id = await accept(served)
    const { waiting } = watchWaiting(served.live)
    const logs = await follow(`${served.url}/invocations/${id}/logs?follow=true`)
    await waiting
    first.end(exited(0))
    const { io, end } = await served.next()
    await io.stdout(Buffer.from('at last\n'))
    end(exited(0))
    expect(await logs.rest()).toBe('at last\n')
  })

  test('followed end if it is cancelled', async () => {
    const served = await serve({}, { concurrency: 1 })
    await start(served)
    const id = await accept(served)
    const path = `${served.url}/invocations/${id}`
    const logs = await follow(`${path}/logs?follow=true`, 'text/event-stream')
    await getJson(`${path}/cancel`, { method: 'POST' })
    expect(await logs.rest()).toBe('event: end\ndata: {}\n\n')
  })
})

describe('logs of a call that runs', () => {
  test('are what it has printed by now', async () => {
    const served = await serve()
    const { id, io } = await start(served)
    await io.stdout(Buffer.from('so far\nand'))
    const path = `${served.url}/invocations/${id}/logs`
    expect(await getLogs(path)).toBe('so far\nand')
    expect(await getLines(path)).toMatchObject([{ text: 'so far' }, { text: 'and' }])
  })

  test.each([
    ['text/plain', 'one\n', 'two\n', ''],
    [
      'application/x-ndjson',
      `{"time":"${at(0)}","stream":"stdout","text":"one"}\n`,
      `{"time":"${at(0)}","stream":"stdout","text":"two"}\n`,
      '',
    ],
    [
      'text/event-stream',
      `id: 1-1\nevent: stdout\ndata: {"time":"${at(0)}","stream":"stdout","text":"one"}\n\n`,
      `id: 1-2\nevent: stdout\ndata: {"time":"${at(0)}","stream":"stdout","text":"two"}\n\n`,
      'event: end\ndata: {}\n\n',
    ],
  ])('as %s come line by line, and end with it', async (accepted, one, two, ending) => {
    const served = await serveAt()
    const { id, io, end } = await start(served)
    const logs = await follow(`${served.url}/invocations/${id}/logs?follow=true`, accepted)
    await io.stdout(Buffer.from('one\n'))
    expect(await logs.until(one)).toBe(one)
    await io.stdout(Buffer.from('two\n'))
    expect(await logs.until(two)).toBe(one + two)
    end(exited(0))
    expect(await logs.rest()).toBe(one + two + ending)
  })

  test.each(['text/plain', 'text/event-stream'])(
    'are not followed any more, as %s, for a client that has left',
    async (accepted) => {
      const served = await serve()
      const { waiting, left } = watchWaiting(served.live)
      const { id, io, stop, end } = await start(served)
      const follows = vi.spyOn(served.live.find(id)!.recorder, 'follow')
      const logs = await follow(`${served.url}/invocations/${id}/logs?follow=true`, accepted)
      await io.stdout(Buffer.from('one\n'))
      await logs.until(accepted === 'text/plain' ? 'one\n' : '"one"}\n\n')
      await waiting
      const [signal] = follows.mock.calls[0]!
      const gone = new Promise((resolve) => signal.addEventListener('abort', resolve))
      logs.abort()
      await gone
      await left()
      expect(stop.aborted).toBe(false)
      end(exited(0))
    },
  )

  test('are followed by many at once', async () => {
    const served = await serve()
    const { id, io, end } = await start(served)
    const path = `${served.url}/invocations/${id}/logs?follow=true`
    const all = await Promise.all(Array.from({ length: 30 }, () => follow(path)))
    await io.stdout(Buffer.from('x'))
    end(exited(0))
    const texts = await Promise.all(all.map((logs) => logs.rest()))
    expect(texts).toEqual(Array(30).fill('x'))
  })

  test('keep an event stream alive while nothing is printed', async () => {
    const served = await serve()
    const { id, end } = await start(served)
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      const path = `${served.url}/invocations/${id}/logs?follow=true`
      const logs = await follow(path, 'text/event-stream')
      vi.advanceTimersByTime(15_000)
      expect(await logs.until('\n\n')).toBe(': still waiting\n\n')
      end(exited(0))
      expect(await logs.rest()).toBe(': still waiting\n\nevent: end\ndata: {}\n\n')
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('an event stream that is taken up again', () => {
  const ALL = ['1-1 o1', '1-2 o2', '1-3 e1', '1-4 o3', '1-5 e2', '1-6 o4', '1-7 e3']

  /** Prints the first three lines, and what follows of the fourth once `rest` is called. */
  async function startPrinting() {
    const served = await serveAt()
    const { id, io, end } = await start(served)
    await io.stdout(Buffer.from('o1\no2\no'))
    served.setClock(1)
    await io.stderr(Buffer.from('e1\ne'))
    const rest = async () => {
      await io.stdout(Buffer.from('3\no'))
      served.setClock(2)
      await io.stderr(Buffer.from('2\ne3'))
      await io.stdout(Buffer.from('4\n'))
      end(exited(0))
    }
    return { url: `${served.url}/invocations/${id}`, rest }
  }

  async function print(): Promise<string> {
    const { url, rest } = await startPrinting()
    await rest()
    await getJson(`${url}?wait=30`)
    return `${url}/logs`
  }

  test.each(['follow', 'follow&tail=1', 'follow&tail=0'])(
    'goes on with the lines that are missing, while the call runs, with ?%s',
    async (query) => {
      const { url, rest } = await startPrinting()
      const first = await follow(`${url}/logs?follow`, 'text/event-stream')
      expect(toEvents(await first.until('"e1"}\n\n'))).toEqual(ALL.slice(0, 3))
      first.abort()
      const headers = { 'Last-Event-ID': '1-2' }
      const second = await follow(`${url}/logs?${query}`, 'text/event-stream', headers)
      expect(toEvents(await second.until('"e1"}\n\n'))).toEqual(ALL.slice(2, 3))
      await rest()
      const text = await second.rest()
      expect(toEvents(text)).toEqual(ALL.slice(2))
      expect(text).toMatch(/\nevent: end\ndata: \{\}\n\n$/)
    },
  )

  test.each(['', '?follow', '?tail=1', '?tail=3&follow'])(
    'goes on with the lines that are missing, after the end, from each of them, with %s',
    async (query) => {
      const url = await print()
      expect(await getEvents(url)).toEqual(ALL)
      for (const count of [...ALL.keys(), ALL.length]) {
        expect(await getEvents(`${url}${query}`, `1-${count}`)).toEqual(ALL.slice(count))
      }
      expect(await getEvents(`${url}${query}`, '1-99999999999999999999')).toEqual([])
    },
  )

  test('numbers lines of both streams together, whichever are asked for', async () => {
    const url = await print()
    const errors = ['1-3 e1', '1-5 e2', '1-7 e3']
    expect(await getEvents(`${url}?stream=stderr`)).toEqual(errors)
    expect(await getEvents(`${url}?stream=stderr&tail=2`)).toEqual(errors.slice(1))
    expect(await getEvents(`${url}?stream=stderr`, '1-3')).toEqual(errors.slice(1))
    expect(await getEvents(`${url}?stream=stderr`, '1-4')).toEqual(errors.slice(1))
    expect(await getEvents(`${url}?since=${at(1)}`)).toEqual(ALL.slice(2))
    expect(await getEvents(`${url}?since=${at(1)}`, '1-1')).toEqual(ALL.slice(2))
    expect(await getEvents(`${url}?since=${at(1)}`, '1-4')).toEqual(ALL.slice(4))
  })

  test('numbers the parts of a long line, each of them', async () => {
    const served = await serve()
    const long = 'x'.repeat(40_000)
    const id = await run(served, { out: `${long}\nshort\n` })
    const url = `${served.url}/invocations/${id}/logs`
    const events = await getEvents(url)
    expect(events.map((event) => event.slice(0, 3))).toEqual(['1-1', '1-2', '1-3', '1-4'])
    expect(await getEvents(url, '1-1')).toEqual(events.slice(1))
    expect(await getEvents(`${url}?tail=2`)).toEqual(events)
  })

  test.each(['7', '1-', '-1', '1-2-3', 'a-b', '1.0-1', '1 -2', '1-2, 1-3', '1795255200000'])(
    'begins anew, and with its tail, after an id that is none: %s',
    async (lastId) => {
      const url = await print()
      expect(await getEvents(url, lastId)).toEqual(ALL)
      expect(await getEvents(`${url}?tail=1`, lastId)).toEqual(ALL.slice(-1))
    },
  )

  test('gets a line whole that it has seen the beginning of', async () => {
    const { url, rest } = await startPrinting()
    const now = [...ALL.slice(0, 3), ' o', ' e']
    expect(await getEvents(`${url}/logs`)).toEqual(now)
    expect(await getEvents(`${url}/logs?tail=2`)).toEqual(now.slice(-2))
    expect(await getEvents(`${url}/logs`, '1-3')).toEqual(now.slice(3))
    await rest()
    await getJson(`${url}?wait=30`)
    expect(await getEvents(`${url}/logs`, '1-3')).toEqual(ALL.slice(3))
  })

  test('is none in the other forms: they have no ids', async () => {
    const url = await print()
    const headers = { 'Last-Event-ID': '1-2' }
    expect(await getLogs(url, 'text/plain', headers)).toBe('o1\no2\noe1\ne3\no2\ne34\n')
    expect(await getLogs(`${url}?tail=1`, 'text/plain', headers)).toBe('e3')
    const lines = await getLogs(url, 'application/x-ndjson', headers)
    expect(lines.match(/\n/g)).toHaveLength(ALL.length)
  })
})

describe('logs of a call that is tried again', () => {
  const serveRetried = () => serve(retried({ minDelayMs: 0 }))

  test('followed have the lines of each attempt, whole', async () => {
    const served = await serveRetried()
    const { id, io, end } = await start(served)
    const url = `${served.url}/invocations/${id}/logs`
    const events = await follow(`${url}?follow`, 'text/event-stream')
    const lines = await follow(`${url}?follow`, 'application/x-ndjson')
    const texts = await follow(`${url}?follow&since=0`)
    const bytes = await follow(`${url}?follow`)
    const all = [events, lines, texts, bytes]
    await io.stdout(Buffer.from('one\n'))
    await Promise.all(all.map((each) => each.until('\n')))
    await io.stderr(Buffer.from('two\n'))
    await io.stdout(Buffer.from('unfinished'))
    end(lost)
    const second = await served.next()
    // What nothing ends has ended with its attempt.
    await events.until('"unfinished"}\n\n')
    await second.io.stdout(Buffer.from('first\n'))
    await second.io.stderr(Buffer.from('second'))
    second.end(exited(0))
    const printed = ['1-1 one', '1-2 two', '1-3 unfinished', '2-1 first', '2-2 second']
    expect(toEvents(await events.rest())).toEqual(printed)
    const records = (await lines.rest()).trimEnd().split('\n')
    expect(records.map((line) => (JSON.parse(line) as Record).text)).toEqual(
      printed.map((event) => event.slice(4)),
    )
    expect(await bytes.rest()).toBe('one\ntwo\nunfinishedfirst\nsecond')
    expect(await texts.rest()).toBe('one\ntwo\nunfinishedfirst\nsecond')
    expect(await getEvents(url)).toEqual(printed.slice(3))
  })

  test('followed from a tail go on with all of the next attempt, however long the tail was', async () => {
    const served = await serveRetried()
    const { id, io, end } = await start(served)
    for (const text of ['a\n', 'b\n', 'c\n', 'd']) await io.stdout(Buffer.from(text))
    const url = `${served.url}/invocations/${id}/logs?follow&tail=2`
    const events = await follow(url, 'text/event-stream')
    const texts = await follow(url)
    expect(toEvents(await events.until('"c"}\n\n'))).toEqual(['1-2 b', '1-3 c'])
    expect(await texts.until('c\n')).toBe('b\nc\n')
    await io.stdout(Buffer.from('e'))
    end(lost)
    const second = await served.next()
    for (const text of ['f\n', 'g\n', 'h\n', 'i\n', 'j\n', 'k']) {
      await second.io.stdout(Buffer.from(text))
    }
    second.end(exited(0))
    const next = ['2-1 f', '2-2 g', '2-3 h', '2-4 i', '2-5 j', '2-6 k']
    expect(toEvents(await events.rest())).toEqual(['1-2 b', '1-3 c', '1-4 de', ...next])
    expect(await texts.rest()).toBe('b\nc\ndef\ng\nh\ni\nj\nk')
  })

  test('taken up again in another attempt have all of that', async () => {
    const served = await serveRetried()
    const { id, io, end } = await start(served)
    const url = `${served.url}/invocations/${id}/logs`
    const first = await follow(`${url}?follow`, 'text/event-stream')
    await io.stdout(Buffer.from('one\ntwo\n'))
    expect(toEvents(await first.until('"two"}\n\n'))).toEqual(['1-1 one', '1-2 two'])
    first.abort()
    end(lost)
    const again = await served.next()
    await again.io.stdout(Buffer.from('three\nfour\nfive\n'))
    const printed = ['2-1 three', '2-2 four', '2-3 five']
    expect(await getEvents(`${url}?tail=1`, '1-2')).toEqual(printed)
    const headers = { 'Last-Event-ID': '2-1' }
    const second = await follow(`${url}?follow&tail=1`, 'text/event-stream', headers)
    await second.until('"five"}\n\n')
    again.end(lost)
    const last = await served.next()
    await last.io.stdout(Buffer.from('six\nseven\n'))
    last.end(exited(0))
    expect(toEvents(await second.rest())).toEqual([...printed.slice(1), '3-1 six', '3-2 seven'])
    expect(await getEvents(url, '2-3')).toEqual(['3-1 six', '3-2 seven'])
    expect(await getEvents(url, '3-1')).toEqual(['3-2 seven'])
  })

  test('followed by one who reads slowly are whole, of an attempt too that is long over', async () => {
    const served = await serve(
      retried(
        { minDelayMs: 0 },
        { limits: { inputBytes: 1, outputBytes: 1, logBytes: 32 * 1024 ** 2 } },
      ),
    )
    const { id, io, end } = await start(served)
    const url = `${served.url}/invocations/${id}/logs`
    const sent = send(`${url}?follow`, {}, 'GET')
    sent.end()
    const response = await sent.response
    await io.stdout(Buffer.from('begin\n'))
    const [begin] = (await once(response, 'data')) as [Buffer]
    response.pause()
    const piece = Buffer.alloc(1024 ** 2, 'abc\n')
    for (let count = 0; count < 16; count += 1) await io.stdout(piece)
    end(lost)
    const second = await served.next()
    await second.io.stdout(Buffer.from('last'))
    second.end(exited(0))
    await getJson(`${served.url}/invocations/${id}?wait=30`)
    const whole = Buffer.concat([begin, await buffer(response)])
    expect(whole).toHaveLength(6 + 16 * piece.length + 4)
    expect(whole.toString('latin1').endsWith('abc\nlast')).toBe(true)
  })
})

describe('lines', () => {
  test('may hold characters that come in pieces', async () => {
    const served = await serve()
    const { id, io, end } = await start(served)
    const bytes = Buffer.from('a\u00fc\u{1f600}\n')
    for (const byte of bytes) {
      await io.stdout(Buffer.from([byte]))
      await io.stderr(Buffer.from([byte]))
    }
    end(exited(0))
    const path = `${served.url}/invocations/${id}`
    await getJson(`${path}?wait=30`)
    const lines = await getLines(`${path}/logs`)
    expect(lines.map(({ stream, text }) => [stream, text])).toEqual([
      ['stdout', 'a\u00fc\u{1f600}'],
      ['stderr', 'a\u00fc\u{1f600}'],
    ])
    expect(await getLogs(`${path}/logs?tail=5`)).toBe('a\u00fc\u{1f600}\na\u00fc\u{1f600}\n')
  })

  test.each([
    ['in one piece', 1],
    ['in many', 40],
  ])('that are long, %s, come in parts that are whole characters', async (_, pieces) => {
    const served = await serve()
    const { id, io, end } = await start(served)
    const long = `a${'\u{1f600}'.repeat(20_000)}`
    const bytes = Buffer.from(`${long}\nshort\n`)
    const size = Math.ceil(bytes.length / pieces)
    for (let from = 0; from < bytes.length; from += size) {
      await io.stdout(bytes.subarray(from, from + size))
    }
    end(exited(0))
    const path = `${served.url}/invocations/${id}`
    await getJson(`${path}?wait=30`)
    const lines = await getLines(`${path}/logs`)
    const parts = lines.slice(0, -1)
    expect(parts.map(({ part }) => part)).toEqual([true, true, undefined])
    expect(parts.every(({ text }) => text.length <= 16 * 1024 && text.isWellFormed())).toBe(true)
    expect(parts.map(({ text }) => text).join('')).toBe(long)
    expect(lines.at(-1)).toMatchObject({ text: 'short' })
    expect(await getLogs(`${path}/logs?tail=2`)).toBe(`${long}\nshort\n`)
    expect(await getLogs(`${path}/logs?tail=1`)).toBe('short\n')
  })

  test('of exactly the longest are in one part', async () => {
    const served = await serve()
    const id = await run(served, { out: `${'x'.repeat(16 * 1024)}\r\n` })
    expect(await getLines(`${served.url}/invocations/${id}/logs`)).toEqual([
      {
        time: expect.any(String) as string,
        stream: 'stdout',
        text: 'x'.repeat(16 * 1024),
      },
    ])
  })
})

describe('tail', () => {
  test.each([
    [0, ''],
    [1, 'c'],
    [2, 'b\r\nc'],
    [10000, 'a\nb\r\nc'],
  ])('%i gives so many of the last lines, as they were printed', async (count, expected) => {
    const served = await serve()
    const id = await run(served, { out: 'a\nb\r\nc' })
    const url = `${served.url}/invocations/${id}/logs?tail=${count}`
    expect(await getLogs(url)).toBe(expected)
    expect(await getLogs(`${url}&follow`)).toBe(expected)
  })

  test('counts lines of the stream that is asked for', async () => {
    const served = await serve()
    const id = await run(served, { out: 'o1\no2\n', err: 'e1\ne2\n' })
    const path = `${served.url}/invocations/${id}/logs`
    expect(await getLogs(`${path}?tail=1&stream=stdout`)).toBe('o2\n')
    expect(await getLogs(`${path}?tail=1&stream=stderr`)).toBe('e2\n')
    expect(await getLogs(`${path}?stream=stderr`)).toBe('e1\ne2\n')
  })

  test('with follow goes on from there, also in the middle of a line', async () => {
    const served = await serve()
    const { id, io, end } = await start(served)
    await io.stdout(Buffer.from('one\ntwo\nthr'))
    const path = `${served.url}/invocations/${id}/logs?follow=true`
    const { recorder } = served.live.find(id)!
    const { follow: followRecord } = recorder
    const { promise: tailIsRead, resolve } = Promise.withResolvers<void>()
    vi.spyOn(recorder, 'follow').mockImplementation((signal) => {
      resolve()
      return followRecord(signal)
    })
    const none = await follow(`${path}&tail=0`)
    await tailIsRead
    const last = await follow(`${path}&tail=1`)
    expect(await last.until('\n')).toBe('two\n')
    await io.stdout(Buffer.from('ee\nfour'))
    end(exited(0))
    expect(await last.rest()).toBe('two\nthree\nfour')
    expect(await none.rest()).toBe('three\nfour')
  })
})

describe('since', () => {
  test.each([
    ['a time', at(1)],
    ['a time with an offset', '2026-11-21T12:00:01%2B02:00'],
    ['milliseconds', String(BEGINNING + 1000)],
  ])('as %s gives the lines from then on', async (_, since) => {
    const served = await serveAt()
    const { id, io, end } = await start(served)
    await io.stdout(Buffer.from('early\nin the '))
    served.setClock(1)
    await io.stdout(Buffer.from('midst\n'))
    served.setClock(2)
    await io.stderr(Buffer.from('late\n'))
    end(exited(0))
    const path = `${served.url}/invocations/${id}`
    await getJson(`${path}?wait=30`)
    expect(await getLogs(`${path}/logs?since=${since}`)).toBe('in the midst\nlate\n')
    expect(await getLines(`${path}/logs?since=${since}`)).toMatchObject([
      { text: 'in the midst', time: at(1) },
      { text: 'late', time: at(2) },
    ])
    expect(await getLogs(`${path}/logs?since=${since}&tail=1`)).toBe('late\n')
  })

  test('after the end gives nothing', async () => {
    const served = await serve()
    const id = await run(served, { out: 'a\n' })
    expect(await getLogs(`${served.url}/invocations/${id}/logs?since=2999-01-01T00:00:00Z`)).toBe(
      '',
    )
  })
})

describe('a request for logs', () => {
  test.each([
    ['tail=-1', 'tail'],
    ['tail=10001', 'tail'],
    ['tail=', 'tail'],
    ['tail=all', 'tail'],
    ['tail=1&tail=2', 'tail'],
    ['since=yesterday', 'since'],
    ['since=', 'since'],
    ['since=-5', 'since'],
    ['since=2026-13-01', 'since'],
    ['since=99999999999999999999', 'since'],
    ['stream=both', 'stream'],
    ['follow=maybe', 'follow'],
  ])('with %s is refused with what is wrong', async (query, name) => {
    const served = await serve()
    const id = await accept(served)
    const answer = await fetch(`${served.url}/invocations/${id}/logs?${query}`)
    const problem = await problemOf(answer)
    expect(problem).toMatchObject({ status: 400, code: 'bad_request' })
    expect(problem.detail).toMatch(new RegExp(`^Correct the query: ${name} .+\\.$`))
  })

  test('in a form that there is not is refused', async () => {
    const served = await serve()
    const id = await accept(served)
    const headers = { Accept: 'application/json' }
    const answer = await fetch(`${served.url}/invocations/${id}/logs`, { headers })
    expect(await problemOf(answer)).toMatchObject({
      status: 406,
      detail: expect.stringContaining('application/x-ndjson') as string,
    })
  })
})
