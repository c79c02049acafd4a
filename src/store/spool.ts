import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { OneshotError } from '../core/error.ts'
import { decodeFrames } from '../core/output-record.ts'
import { createRecorder } from './recorder.ts'
import type { Spool, StoredInput, TakenInput } from './store.ts'

/** Longer inputs are kept in files: a row of the store is read and written whole. */
const MAX_INLINE_BYTES = 64 * 1024

/** What is left for the ends of the calls that were accepted. */
const RESERVE_BYTES = 64 * 1024 ** 2
/** How often the disk is looked at, besides each time that an input has grown by so much. */
const CHECK_MS = 1_000
const CHECK_BYTES = 4 * 1024 ** 2

/** Files in `folder`/inputs and `folder`/outputs. */
export function createSpool({ folder, clock }: { folder: string; clock: () => number }): Spool {
  const inputs = join(folder, 'inputs')
  const outputs = join(folder, 'outputs')
  for (const each of [inputs, outputs]) mkdirSync(each, { recursive: true, mode: 0o700 })

  /** Whose inputs are on their way. */
  const takenIn = new Set<string>()

  async function takeInput(id: string, body: AsyncIterable<Uint8Array>): Promise<TakenInput> {
    const path = join(inputs, id)
    const hash = createHash('sha256')
    const held: Uint8Array[] = []
    let length = 0
    let checkAt = CHECK_BYTES
    let file: FileHandle | undefined
    takenIn.add(id)
    try {
      for await (const chunk of body) {
        hash.update(chunk)
        length += chunk.length
        if (!file && length <= MAX_INLINE_BYTES) {
          held.push(Uint8Array.from(chunk))
          continue
        }
        if (!file) {
          file = await open(path, 'wx', 0o600)
          for (const each of held.splice(0)) await file.writeFile(each)
        }
        await file.writeFile(chunk)
        if (length >= checkAt) {
          checkAt = length + CHECK_BYTES
          await look()
          refuseIfFull()
        }
      }
      const digest = hash.digest('hex')
      if (!file) return { input: { kind: 'inline', bytes: Buffer.concat(held) }, digest }
      await file.sync()
      await file.close()
      // The file's name is on disk only once its folder is.
      await syncFolder(inputs)
      return { input: { kind: 'file', length }, digest }
    } catch (error) {
      if (file) await Promise.allSettled([file.close(), rm(path, { force: true })])
      throw toSpoolError(error)
    } finally {
      takenIn.delete(id)
    }
  }

  let checkedAt = -Infinity
  let freeBytes: number | undefined

  /** What was seen last counts: no call waits for a look at the disk but the first. */
  async function checkRoom(): Promise<void> {
    if (clock() - checkedAt >= CHECK_MS) {
      checkedAt = clock()
      const looking = look()
      if (freeBytes === undefined) await looking
    }
    refuseIfFull()
  }

  function refuseIfFull(): void {
    if (freeBytes !== undefined && freeBytes < RESERVE_BYTES) throw toFull()
  }

  async function look(): Promise<void> {
    const seen = await statfs(folder).catch(() => undefined)
    if (seen) freeBytes = seen.bavail * seen.bsize
  }

  async function* readInput(id: string, input: StoredInput): AsyncGenerator<Uint8Array> {
    if (input.kind === 'inline') yield input.bytes
    else yield* readFile(join(inputs, id))
  }

  return {
    takeInput,
    readInput,
    record: (id, maxBytes) => createRecorder({ path: join(outputs, id), maxBytes, clock }),
    readOutput(id, { frames }) {
      return decodeFrames(frames ? [frames] : readFile(join(outputs, id)))
    },
    async remove(ids) {
      let bytes = 0
      for (const path of ids.flatMap((id) => [join(inputs, id), join(outputs, id)])) {
        const length = await lengthOf(path)
        await rm(path, { force: true })
        bytes += length
      }
      return bytes
    },
    async list() {
      return [...new Set([...(await readdir(inputs)), ...(await readdir(outputs))])]
    },
    checkRoom,
    async usedBytes(except = new Set()) {
      let bytes = 0
      for (const folder of [inputs, outputs]) {
        for (const id of await readdir(folder)) {
          if (!except.has(id) && !takenIn.has(id)) bytes += await lengthOf(join(folder, id))
        }
      }
      return bytes
    },
  }
}

/** Opened only once it is read: nobody may ever do so. */
async function* readFile(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path) as AsyncIterable<Buffer>
}

/** 0 of a file that is not there: one may go at any moment. */
async function lengthOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** What the disk has no room for is told as such. */
export function toSpoolError(error: unknown): unknown {
  const code = (error as { code?: unknown } | null | undefined)?.code
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  return toFull(error)
}

function toFull(cause?: unknown): OneshotError {
  const detail =
    'The disk of the data folder is full: make room there, or lower ONESHOT_RETENTION or ONESHOT_DATA_MAX.'
  return new OneshotError('storage_full', detail, { cause, retryAfterSeconds: 60 })
}
