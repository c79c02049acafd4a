import { EventEmitter, once } from 'node:events'
import type { FileHandle } from 'node:fs/promises'
import { open, rm } from 'node:fs/promises'
import type { OutputFrame } from '../core/output-record.ts'
import { decodeFrames, encodeFrame } from '../core/output-record.ts'
import type { Recorder, StoredOutput } from './store.ts'

export interface RecorderOptions {
  /** Of the file that holds what is long. */
  readonly path: string
  /** How much of the output is kept, from its beginning. */
  readonly maxBytes: number
  readonly clock: () => number
}

/** What is shorter is kept in memory while the call runs, and then in the store. */
const MAX_INLINE_BYTES = 16 * 1024
const READ_BYTES = 64 * 1024

/** Keeps the beginning of what a call prints, for its logs and its result. */
export function createRecorder({ path, maxBytes, clock }: RecorderOptions): Recorder {
  const changes = new EventEmitter()
  changes.setMaxListeners(0)
  /** What is kept of each, or is about to be. */
  const kept = { stdout: 0, stderr: 0 }
  let truncated = false
  /** Nothing more is taken. */
  let closed = false
  /** Nothing more is written: followers come to their end. */
  let over = false
  let isDiscarded = false
  let readers = 0
  /** Of the frames: those that are in memory, until they are too long for it. */
  let held: Uint8Array[] | undefined = []
  let length = 0
  /** Open while it is written to or read: what is discarded can then be read to its end. */
  let file: FileHandle | undefined
  /** Writes to the file follow one another; undefined: none was needed yet. */
  let writing: Promise<void> | undefined
  let isFailed = false

  function write(stream: OutputFrame['stream'], bytes: Uint8Array): void | Promise<void> {
    const room = maxBytes - kept.stdout - kept.stderr
    if (bytes.length > room) truncated = true
    if (closed || isFailed || room <= 0 || bytes.length === 0) return undefined
    const taken = bytes.subarray(0, room)
    kept[stream] += taken.length
    const frame = encodeFrame({ stream, at: clock(), bytes: taken })
    // Once one is on its way to the file, those after it must not overtake it.
    if (held && !writing && length + frame.length <= MAX_INLINE_BYTES) {
      held.push(frame)
      length += frame.length
      changes.emit('change')
      return undefined
    }
    writing = (writing ?? Promise.resolve()).then(() => append(stream, frame, taken.length))
    return writing
  }

  async function append(
    stream: OutputFrame['stream'],
    frame: Uint8Array,
    takenBytes: number,
  ): Promise<void> {
    try {
      if (isFailed) throw new Error('what came before could not be kept')
      if (held) {
        file = await open(path, 'w+', 0o600)
        await file.writeFile(Buffer.concat(held))
        held = undefined
      }
      await file?.writeFile(frame)
      length += frame.length
    } catch {
      // A full disk must not harm the call. What comes later is left out as well: what is kept has no gaps.
      isFailed = true
      truncated = true
      kept[stream] -= takenBytes
    }
    changes.emit('change')
  }

  async function* readRecord(follow: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    if (isDiscarded) return
    readers += 1
    try {
      let at = 0
      for (;;) {
        if (follow?.aborted === true) return
        if (at < length) {
          const chunk = held ? Buffer.concat(held).subarray(at) : await readFile(at, length - at)
          if (!chunk) return
          at += chunk.length
          yield chunk
        } else if (over || !follow) {
          return
        } else {
          await once(changes, 'change', { signal: follow }).catch(() => {})
        }
      }
    } finally {
      readers -= 1
      await closeUnused()
    }
  }

  /** Undefined: it was discarded, and closed before this reader had begun. */
  async function readFile(at: number, bytes: number): Promise<Uint8Array | undefined> {
    const wanted = Math.min(READ_BYTES, bytes)
    if (file) return readFrom(file, at, wanted)
    const reading = await open(path, 'r').catch((error: unknown) => {
      if (isDiscarded) return undefined
      throw error
    })
    try {
      const chunk = reading && (await readFrom(reading, at, wanted))
      // The file may be the next attempt's by now.
      return isDiscarded ? undefined : chunk
    } finally {
      await reading?.close()
    }
  }

  async function closeUnused(): Promise<void> {
    if (!over || readers > 0) return
    const unused = file
    file = undefined
    await unused?.close().catch(() => {})
  }

  async function finish(): Promise<StoredOutput> {
    closed = true
    await writing
    over = true
    changes.emit('change')
    await closeUnused()
    const { stdout: stdoutBytes, stderr: stderrBytes } = kept
    return { frames: held && Buffer.concat(held), stdoutBytes, stderrBytes, truncated }
  }

  return {
    write,
    follow: (signal) => decodeFrames(readRecord(signal)),
    read: () => decodeFrames(readRecord(undefined)),
    finish,
    async discard() {
      await finish()
      isDiscarded = true
      await rm(path, { force: true })
    },
  }
}

async function readFrom(file: FileHandle, at: number, bytes: number): Promise<Uint8Array> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(bytes), 0, bytes, at)
  return buffer.subarray(0, bytesRead)
}
