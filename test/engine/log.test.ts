import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Docker from 'dockerode'
import { expect, onTestFinished, test } from 'vitest'
import type { TaskEnd } from '../../src/core/outcome.ts'
import { openStream } from '../../src/engine/docker.ts'
import { copyLog } from '../../src/engine/log.ts'

/** Of stdout: the time, in seconds, and what was written then. */
type Piece = readonly [seconds: number, text: string]

const exited: TaskEnd = { kind: 'exited', exitCode: 0, oomKilled: false }

function encode([seconds, text]: Piece): Buffer {
  const time = `2026-11-21T10:00:${String(seconds).padStart(2, '0')}.000000000Z`
  const content = Buffer.from(`${time} ${text}`)
  const header = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])
  header.writeUInt32BE(content.length, 4)
  return Buffer.concat([header, content])
}

/** What is copied of a log whose first pieces alone come while it is followed, after those of a `former` try if there was one. */
async function copy(
  pieces: readonly Piece[],
  followed: number,
  former: readonly Piece[] = [],
): Promise<string> {
  const ended = Promise.withResolvers<TaskEnd>()
  const all = pieces.map(encode)
  const server = createServer(({ url = '' }, outgoing) => {
    if (!url.includes('follow=1')) return void outgoing.end(Buffer.concat(all))
    outgoing.write(Buffer.concat([...former.map(encode), ...all.slice(0, followed)]))
    if (followed === 0) ended.resolve(exited)
    return undefined
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const docker = new Docker({ host: '127.0.0.1', port, protocol: 'http' })
  let text = ''
  let taken = 0
  const stdout = (chunk: Uint8Array) => {
    text += Buffer.from(chunk).toString()
    taken += 1
    if (taken === followed) ended.resolve(exited)
  }
  const container = {
    open: (query: string, over: AbortSignal) =>
      openStream(docker, `/containers/c/logs?${query}`, over),
    tty: false,
    ended: ended.promise,
    hasEnded: false,
  }
  const forever = new AbortController().signal
  await copyLog(container, { stdout, stderr: () => {} }, forever)
  return text
}

/** The log has forgotten the newline of `d`, as it does of a long line. */
const steady: readonly Piece[] = [
  [10, 'a\n'],
  [11, 'b'],
  [11, 'c\n'],
  [12, 'd'],
  [13, 'e\n'],
]
const back: readonly Piece[] = [
  [10, 'a\n'],
  [20, 'b\n'],
  [15, 'c'],
  [15, 'd'],
  [16, 'e\n'],
  [14, 'f\n'],
]

test.each([0, 1, 2, 3, 4, 5])('a log comes whole, each piece once, after %i', async (followed) => {
  expect(await copy(steady, followed)).toBe('a\nbc\nd\ne\n')
})

test.each([0, 1, 2, 3, 4, 5, 6])(
  'a log of an engine whose clock is set back comes whole, each piece once, after %i',
  async (followed) => {
    expect(await copy(back, followed)).toBe('a\nb\ncd\ne\nf\n')
  },
)

test.each([1, 2, 3, 4, 5])(
  'a log that begins again while it is followed comes whole, each piece once, after %i',
  async (former) => {
    expect(await copy(steady, steady.length, steady.slice(0, former))).toBe('a\nbc\nd\ne\n')
    expect(await copy(back, back.length, back.slice(0, former))).toBe('a\nb\ncd\ne\nf\n')
  },
)
