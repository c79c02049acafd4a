import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TaskEnd } from '../core/outcome.ts'
import type { Output } from './output.ts'
import { demultiplex } from './output.ts'

export interface Logged {
  /** The engine's answer with its log, to a query such as `stdout=1&stderr=1`. The signal breaks it off. */
  readonly open: (query: string, signal: AbortSignal) => Promise<Readable>
  readonly tty: boolean
  readonly ended: Promise<TaskEnd>
  readonly hasEnded: boolean
  /** How long it is tried again to read it to its end, in milliseconds: whose node has gone may come back. */
  readonly patienceMs?: number
}

const RETRY_MS = 1_000

/**
 * Hands a container's output on, from the beginning of the engine's log of it to its end: as it comes, but with a tty
 * only at its end. Rejects if the log can't be read to its end, and when `over` comes.
 *
 * What Docker 20.10 does of its `local` log, as measured:
 * - It keeps every byte, in pieces: lines, and 16 KiB of longer ones. A last line without a newline gets none.
 * - It forgets the newline of a line of 16 KiB or more. All pieces of one line bear one time, so a new time tells where
 *   one is missing, but not behind the last line of all: there it stays away. With a tty all of them do.
 * - Following a log misses what was written last, in half of all ends; attaching with `logs=1` repeats and leaves out
 *   pieces in the midst. So it is followed until the container has ended, and then read once more.
 * - What has outgrown `max-size` is cut off at the beginning, the most at once. One who follows meanwhile may miss pieces
 *   in the midst; the end is always there.
 * - Following the log of a swarm's task gets it again, from its beginning, when the engine of its node has been started anew.
 */
export async function copyLog(
  { open: openLog, tty, ended, hasEnded, patienceMs = 0 }: Logged,
  output: Output,
  over: AbortSignal,
): Promise<void> {
  const open = (query: string, signal: AbortSignal) => openLog(`stdout=1&stderr=1${query}`, signal)
  const whenEnded = async () => {
    const { kind } = await ended
    // Its log may go on.
    if (kind === 'lost') throw new Error('the engine has not reported its end')
  }
  if (tty) {
    await whenEnded()
    for await (const chunk of await open('', over)) await output.stdout(chunk as Buffer)
    return
  }
  const stdout = createPieces(output.stdout)
  const stderr = createPieces(output.stderr)
  const read = async (query: string, signal: AbortSignal) => {
    stdout.rewind()
    stderr.rewind()
    const source = await open(`&timestamps=1${query}`, signal)
    const begun: Buffer[] = []
    await demultiplex(source, (isStderr, bytes, isLast) => {
      begun.push(bytes)
      if (!isLast) return undefined
      const [first] = begun
      const piece = begun.length === 1 && first ? first : Buffer.concat(begun)
      begun.length = 0
      return (isStderr ? stderr : stdout).take(piece)
    })
  }
  if (!hasEnded) {
    const behind = new AbortController()
    // However far it comes, the reading of the rest goes on from there.
    const following = read('&follow=1', AbortSignal.any([over, behind.signal])).catch(() => {})
    await whenEnded().finally(() => behind.abort())
    await following
  }
  const giveUpAt = performance.now() + patienceMs
  for (;;) {
    try {
      return await read('', over)
    } catch (error) {
      if (over.aborted || performance.now() + RETRY_MS > giveUpAt) throw error
      await sleep(RETRY_MS)
    }
  }
}

interface Pieces {
  /** Of the log: a time, a space, and what was written. */
  take(piece: Buffer): void | Promise<void>
  /** The log is read from the beginning again: what was taken already is passed over. */
  rewind(): void
}

/** One of a log's two streams: each piece once, with the newlines that the log has lost. */
function createPieces(sink: Output['stdout']): Pieces {
  let first: Buffer | undefined
  let last = { time: 0n, pieces: 0 }
  /** Of all that were taken: not the last one's time if the engine's clock was set back. */
  let latest = 0n
  /** Of those that bear the last time, how many have come since the rewinding. */
  let again = 0
  /** What comes may have been taken before. */
  let isRereading = false
  let isLineOpen = false

  function take(piece: Buffer): void | Promise<void> {
    const space = piece.indexOf(' ')
    const time = toNanoseconds(piece.toString('latin1', 0, space))
    const content = piece.subarray(space + 1)
    const isSameLine = time === last.time
    if (first?.equals(piece) && !(isSameLine && isLineOpen)) rewind()
    if (isSameLine) again += 1
    if (isRereading && (isSameLine ? again <= last.pieces : time <= latest)) {
      // What is behind the last one is new, whatever its time.
      isRereading = !isSameLine || again < last.pieces
      return undefined
    }
    isRereading = false
    if (!isSameLine) again = 1
    const isLineMissingEnd = isLineOpen && !isSameLine
    const bytes = isLineMissingEnd ? Buffer.concat([Buffer.of(NEWLINE), content]) : content
    // What the sink does not take comes again.
    const commit = () => {
      first ??= piece
      last = { time, pieces: again }
      if (time > latest) latest = time
      isLineOpen = content.at(-1) !== NEWLINE
    }
    const taken = bytes.length > 0 ? sink(bytes) : undefined
    if (taken) return taken.then(commit)
    commit()
    return undefined
  }

  function rewind(): void {
    again = 0
    isRereading = true
  }

  return { take, rewind }
}

const NEWLINE = 10

/** Of a time such as `2026-11-21T15:55:30.164153185Z`: always nine digits of a second, in the engine's own zone. */
function toNanoseconds(time: string): bigint {
  const [seconds = '', rest = ''] = time.split('.')
  const zone = rest.slice(9)
  return BigInt(Date.parse(`${seconds}${zone}`)) * 1_000_000n + BigInt(rest.slice(0, 9))
}
