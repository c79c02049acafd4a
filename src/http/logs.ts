import type { ServerResponse } from 'node:http'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { OutputFrame } from '../core/output-record.ts'
import type { AttemptOutput, Invocations } from '../gateway/invocations.ts'
import { writeChunk, writeHead } from './answer.ts'
import { untilClosed } from './during.ts'
import { KEEP_ALIVE_MS } from './event-answer.ts'
import type { Line, LinePlace } from './lines.ts'
import { createLines, createTail, toLineId } from './lines.ts'
import type { FormOfLogs } from './negotiate.ts'

export interface LogsQuery {
  readonly follow: boolean
  /** Only so many of the last lines. */
  readonly tail?: number | undefined
  /** Only what came at that time or later, in milliseconds since the epoch. */
  readonly since?: number | undefined
  readonly stream?: OutputFrame['stream'] | undefined
  /** Of this line's attempt only what comes after it, whatever `tail` says. */
  readonly after?: LinePlace | undefined
}

export interface LogsContext {
  readonly invocations: Invocations
  readonly outgoing: ServerResponse
  readonly form: FormOfLogs
}

/** What a call has printed, and with `follow` what it will print, to its end. */
export async function answerLogs(
  id: string,
  { follow, tail, since, stream, after }: LogsQuery,
  { invocations, outgoing, form }: LogsContext,
): Promise<Response> {
  const closed = untilClosed(outgoing)
  writeHead(outgoing, 200, {
    'Content-Type': form === 'text/plain' ? 'text/plain; charset=utf-8' : form,
    'Cache-Control': 'no-store',
    'X-Accel-Buffering': 'no',
  })
  if (follow) outgoing.flushHeaders()
  const keepAlive = form === 'text/event-stream' ? startKeepAlive(outgoing) : undefined
  // Whoever reconnects repeats its URL: the tail was for its first request.
  const kept = after ? undefined : tail

  async function answerBytes({ frames }: AttemptOutput): Promise<void> {
    for await (const frame of frames) {
      if (closed.aborted) return
      if (stream === undefined || frame.stream === stream) await writeChunk(outgoing, frame.bytes)
    }
  }

  /** The first `tailed` frames are those that the tail is taken from. */
  async function answerLines(
    { attempt, frames, isOver }: AttemptOutput,
    tailed: number,
  ): Promise<void> {
    const lines = createLines()
    const last = createTail(kept ?? 0)
    const isWanted = (line: Line) =>
      (stream === undefined || line.stream === stream) &&
      (since === undefined || line.time >= since) &&
      (attempt !== after?.attempt || (line.number ?? Infinity) > after.number)
    const send = async (all: readonly Line[]) => {
      for (const line of all) await writeChunk(outgoing, render(line, attempt, form))
    }
    let left = tailed
    const take = async (all: readonly Line[]) => {
      const wanted = all.filter(isWanted)
      if (left > 0) last.push(wanted)
      else await send(wanted)
    }
    for await (const frame of frames) {
      if (closed.aborted) return
      await take(lines.push(frame))
      left -= 1
      if (left === 0) await send(last.lines())
    }
    await take(lines.end(isOver || follow))
    if (left > 0) await send(last.lines())
  }

  /** How many frames there are by now, and of which attempt. Of one that is over, the tail has its last lines too. */
  async function countTailed(): Promise<{ readonly attempt: number; readonly frames: number }> {
    for await (const { attempt, frames, isOver } of invocations.output(id, false, closed)) {
      return { attempt, frames: isOver ? Infinity : await countOf(frames) }
    }
    return { attempt: 0, frames: 0 }
  }

  try {
    const areBytes = form === 'text/plain' && kept === undefined && since === undefined
    const now = kept !== undefined && follow ? await countTailed() : undefined
    for await (const output of invocations.output(id, follow, closed)) {
      if (areBytes) await answerBytes(output)
      else if (kept === undefined) await answerLines(output, 0)
      else if (!now) await answerLines(output, Infinity)
      else await answerLines(output, output.attempt === now.attempt ? now.frames : 0)
    }
  } finally {
    clearInterval(keepAlive)
  }
  outgoing.end(form === 'text/event-stream' ? 'event: end\ndata: {}\n\n' : undefined)
  return RESPONSE_ALREADY_SENT
}

function startKeepAlive(outgoing: ServerResponse): NodeJS.Timeout {
  return setInterval(() => {
    if (!outgoing.writableNeedDrain) void writeChunk(outgoing, ': still waiting\n\n')
  }, KEEP_ALIVE_MS)
}

async function countOf(all: AsyncIterable<unknown>): Promise<number> {
  const each = all[Symbol.asyncIterator]()
  let count = 0
  while ((await each.next()).done !== true) count += 1
  return count
}

function render({ number, time, stream, text, end }: Line, attempt: number, form: FormOfLogs) {
  if (form === 'text/plain') return `${text}${end === 'none' ? '' : (end ?? '')}`
  const record = JSON.stringify({
    time: new Date(time).toISOString(),
    stream,
    text,
    ...(end === undefined && { part: true }),
  })
  if (form === 'application/x-ndjson') return `${record}\n`
  const id = number === undefined ? '' : `id: ${toLineId({ attempt, number })}\n`
  return `${id}event: ${stream}\ndata: ${record}\n\n`
}
