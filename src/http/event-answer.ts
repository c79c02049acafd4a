import { StringDecoder } from 'node:string_decoder'
import { toEnvelope } from '../core/envelope.ts'
import type { Sink } from '../core/task.ts'
import type { Answer, AnswerContext } from './answer.ts'
import { STATE, toEndHeaders, toTrailerHeader, writeChunk, writeHead } from './answer.ts'
import { createCapture } from '../gateway/capture.ts'
import { toEnvelopeStatus } from './errors.ts'
import { isHighSurrogate } from './lines.ts'

/** A line longer than this comes in parts: `stdout.part`, …, and at its end `stdout`. In UTF-16 code units. */
const MAX_LINE = 16 * 1024
/** Proxies drop connections on which nothing is heard. */
export const KEEP_ALIVE_MS = 15_000
const HEADERS = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store',
  'X-Accel-Buffering': 'no',
}

/** Lines as they come, as server-sent events, then `end` with the envelope, or `error` with the problem. */
export function createEventAnswer({
  outgoing,
  outputBytes,
  engine,
  isCut = false,
  ended,
  askForBody,
}: AnswerContext): Answer {
  const stdout = createEventStream('stdout', outputBytes)
  const stderr = createEventStream('stderr', outputBytes)
  const keepAlive = setInterval(() => {
    start()
    if (!outgoing.writableNeedDrain) void writeChunk(outgoing, ': still running\n\n')
  }, KEEP_ALIVE_MS)

  function start(): void {
    askForBody()
    const about = ended ? toEndHeaders(ended) : { ...toTrailerHeader(outgoing), [STATE]: 'running' }
    writeHead(outgoing, 200, { ...HEADERS, ...about })
    outgoing.flushHeaders()
  }

  function toSink(stream: EventStream): Sink {
    return (chunk) => {
      const events = stream.push(chunk)
      if (events === '') return undefined
      start()
      return writeChunk(outgoing, events)
    }
  }

  return {
    stdout: toSink(stdout),
    stderr: toSink(stderr),
    started: start,
    end(invocation) {
      const whole = toEnvelope(invocation, stdout.captured(), stderr.captured(), engine)
      const envelope = { ...whole, truncated: whole.truncated || isCut }
      const status = toEnvelopeStatus(invocation.outcome)
      const headers = toEndHeaders(invocation)
      if (!outgoing.headersSent) writeHead(outgoing, status, { ...HEADERS, ...headers })
      else if (!ended) outgoing.addTrailers(headers)
      outgoing.end(`${stdout.end()}${stderr.end()}${toEvent('end', JSON.stringify(envelope))}`)
    },
    fail(problem) {
      outgoing.end(`${stdout.end()}${stderr.end()}${toEvent('error', JSON.stringify(problem))}`)
    },
    dispose: () => clearInterval(keepAlive),
  }
}

type EventStream = ReturnType<typeof createEventStream>

/** Turns one stream's bytes into events, a line each, and keeps its beginning for the envelope. */
function createEventStream(name: 'stdout' | 'stderr', maxBytes: number) {
  const { write, captured } = createCapture(maxBytes)
  const decoder = new StringDecoder('utf8')
  let line = ''
  let endsInReturn = false
  let events = ''

  function feed(text: string): void {
    if (text === '') return
    // The line has ended with the CR already, which came in a chunk of its own.
    const [first = '', ...others] = text
      .slice(endsInReturn && text.startsWith('\n') ? 1 : 0)
      .split(/\r\n|\n|\r/)
    endsInReturn = text.endsWith('\r')
    extend(first)
    for (const next of others) {
      events += toEvent(name, line)
      line = ''
      extend(next)
    }
  }

  function extend(text: string): void {
    line += text
    while (line.length > MAX_LINE) {
      const end = isHighSurrogate(line.charCodeAt(MAX_LINE - 1)) ? MAX_LINE - 1 : MAX_LINE
      events += toEvent(`${name}.part`, line.slice(0, end))
      line = line.slice(end)
    }
  }

  function taken(): string {
    const text = events
    events = ''
    return text
  }

  return {
    captured,
    push(chunk: Uint8Array): string {
      void write(chunk)
      feed(decoder.write(chunk))
      return taken()
    },
    /** What is left: a last line without an end. */
    end(): string {
      feed(decoder.end())
      if (line !== '') events += toEvent(name, line)
      return taken()
    },
  }
}

function toEvent(name: string, data: string): string {
  return `event: ${name}\ndata: ${data}\n\n`
}
