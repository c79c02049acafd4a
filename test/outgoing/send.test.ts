import net, { Socket, type TcpNetConnectOpts } from 'node:net'
import { lookup } from 'node:dns/promises'
import { syncBuiltinESMExports } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { parseAllowList } from '../../src/core/callback-target.ts'
import { createConnector, type Lookup } from '../../src/outgoing/connect.ts'
import { createSender, type SenderOptions, type SendRequest } from '../../src/outgoing/send.ts'
import { listen, receive, RECEIVER, setTrap } from './receiver.ts'

type Options = Omit<Partial<SenderOptions>, 'allow' | 'denied'> & {
  readonly allow?: string
  readonly denied?: string
}

function send(
  sender: ReturnType<typeof createSender>,
  url: string,
  request: Partial<SendRequest> = {},
) {
  return sender.send({ url, headers: {}, body: Buffer.from('outcome'), ...request })
}

/** Allows the receivers' address, unless told otherwise. */
function create({ allow = RECEIVER, denied = '', ...options }: Options = {}) {
  const sender = createSender({
    allow: parseAllowList(allow).rules,
    denied: parseAllowList(denied).rules,
    ...options,
  })
  return { ...sender, [Symbol.asyncDispose]: sender.close }
}

const answering = (...addresses: string[]) =>
  vi.fn<Lookup>(() => Promise.resolve(addresses.map((address) => ({ address }))))

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  syncBuiltinESMExports()
})

/** Stands in for the network: nothing leaves this machine. */
function stubConnect(connect: (options: TcpNetConnectOpts) => Socket) {
  const stub = vi.spyOn(net, 'connect').mockImplementation(connect as never)
  syncBuiltinESMExports()
  return stub
}

describe('a request', () => {
  test('is a POST with its headers and body, and its answer comes back', async () => {
    await using receiver = await receive((_, response) => {
      response.writeHead(503, { 'Retry-After': '120', 'Content-Type': 'text/plain' }).end('later')
    })
    let time = 1000
    await using sender = create({ now: () => (time += 7) })
    const url = `http://${RECEIVER}:${receiver.port}/hook/a%20b?token=1#part`
    const answer = await send(sender, url, {
      headers: { 'webhook-id': 'a', Host: 'evil.example', 'Content-Length': '3' },
    })
    expect(answer).toEqual({
      status: 503,
      headers: { retryAfter: '120' },
      answer: 'later',
      latencyMs: 7,
    })
    expect(receiver.received).toEqual([
      {
        method: 'POST',
        path: '/hook/a%20b?token=1',
        headers: {
          connection: 'keep-alive',
          host: `${RECEIVER}:${receiver.port}`,
          'content-length': '7',
          'webhook-id': 'a',
        },
        body: Buffer.from('outcome'),
      },
    ])
  })

  test('brings any bytes whole, be they held or streamed', async () => {
    await using receiver = await receive((_, response) => response.end())
    await using sender = create()
    const url = `http://${RECEIVER}:${receiver.port}/`
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat(2000), async (bytes, times) => {
        const body = Buffer.concat(Array.from({ length: times }, () => bytes))
        await send(sender, url, { body })
        expect(receiver.received.at(-1)!.body.equals(body)).toBe(true)
        const read = async function* () {
          for (let at = 0; at < body.length; at += 1000) yield body.subarray(at, at + 1000)
        }
        await send(sender, url, { body: { length: body.length, read } })
        expect(receiver.received.at(-1)!.body.equals(body)).toBe(true)
        expect(receiver.received.at(-1)!.headers['content-length']).toBe(`${body.length}`)
      }),
      { numRuns: 30 },
    )
  })

  test.each([
    [
      'breaks off',
      async function* () {
        yield Buffer.from('abc')
        throw new Error('/data/secret.db is gone')
      },
      'the body could not be read',
    ],
    [
      'is too short',
      async function* () {
        yield Buffer.from('abc')
      },
      'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
    ],
    [
      'is too long',
      async function* () {
        yield Buffer.from('abcdefgh')
      },
      'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
    ],
  ])('whose body %s fails, and is not taken for a whole one', async (_, read, message) => {
    await using receiver = await receive((_, response) => response.end())
    await using sender = create()
    const url = `http://${RECEIVER}:${receiver.port}/`
    await expect(send(sender, url, { body: { length: 7, read } })).rejects.toThrow(
      new RegExp(`^${message}$`),
    )
    expect(receiver.received).toEqual([])
    expect((await send(sender, url)).status).toBe(200)
  })

  test('takes no cookies and no proxy from anywhere', async () => {
    await using trap = await setTrap()
    for (const name of ['http_proxy', 'https_proxy', 'all_proxy']) {
      vi.stubEnv(name, `http://127.0.0.1:${trap.port}`)
      vi.stubEnv(name.toUpperCase(), `http://127.0.0.1:${trap.port}`)
    }
    vi.stubEnv('NODE_USE_ENV_PROXY', '1')
    await using receiver = await receive((_, response) => {
      response.setHeader('Set-Cookie', 'a=b').end()
    })
    await using sender = create()
    await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    expect(receiver.received.map(({ headers }) => headers.cookie)).toEqual([undefined, undefined])
    expect(trap.sockets).toEqual([])
  })

  test('cannot be split by a header', async () => {
    await using receiver = await receive((_, response) => response.end())
    await using sender = create()
    const headers = { 'x-a': 'a\r\nx-b: b' }
    await expect(send(sender, `http://${RECEIVER}:${receiver.port}/`, { headers })).rejects.toThrow(
      /^UND_ERR_INVALID_ARG$/,
    )
    expect(receiver.received).toEqual([])
  })
})

describe('an answer', () => {
  test.each([301, 302, 303, 307, 308])('of %d is not followed', async (status) => {
    await using trap = await setTrap()
    await using receiver = await receive((_, response) => {
      response.writeHead(status, { Location: `http://127.0.0.1:${trap.port}/` }).end('moved')
    })
    await using sender = create()
    const answer = await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    expect(answer).toMatchObject({ status, answer: 'moved' })
    expect(receiver.received).toHaveLength(1)
    expect(trap.sockets).toEqual([])
  })

  test('without an end is cut after 16 KiB, and its connection dropped', async () => {
    await using receiver = await receive((_, response) => {
      const more = () => {
        while (response.write(Buffer.alloc(1000, 'a')));
      }
      response.on('drain', more)
      more()
    })
    await using sender = create()
    const { status, answer } = await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    expect({ status, answer }).toEqual({ status: 200, answer: 'a'.repeat(16_384) })
    const [socket] = receiver.sockets
    await closed(socket!)
    expect(socket!.bytesWritten).toBeLessThan(10_000_000)
  })

  test.each([
    ['of exactly 16 KiB is whole', Buffer.alloc(16_384, 'a'), 'a'.repeat(16_384)],
    [
      'is not cut within a character',
      Buffer.from(`a${'é'.repeat(20_000)}`),
      `a${'é'.repeat(8191)}`,
    ],
    [
      'that is no UTF-8 is read all the same',
      Buffer.from([0x61, 0xff, 0x62, 0xc3]),
      'a\ufffdb\ufffd',
    ],
    ['may be empty', Buffer.alloc(0), ''],
  ])('%s', async (_, body, expected) => {
    await using receiver = await receive((_, response) => response.end(body))
    await using sender = create()
    expect((await send(sender, `http://${RECEIVER}:${receiver.port}/`)).answer).toBe(expected)
  })

  test('that is compressed is not blown up', async () => {
    const body = gzipSync(Buffer.alloc(10_000_000))
    await using receiver = await receive((_, response) => {
      response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(body)
    })
    await using sender = create()
    const { answer } = await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    expect(answer).toBe(new TextDecoder().decode(body.subarray(0, 16_384)))
  })

  test('with a head without an end, or one that is no HTTP, fails', async () => {
    await using flood = await listen((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}`)
    })
    await using noise = await listen((socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n'))
    await using sender = create()
    await expect(send(sender, `http://${RECEIVER}:${flood.port}/`)).rejects.toThrow(
      /^(UND_ERR_HEADERS_OVERFLOW|HPE_HEADER_OVERFLOW)/,
    )
    await expect(send(sender, `http://${RECEIVER}:${noise.port}/`)).rejects.toThrow(
      /^HTTPParserError: the answer is no HTTP$/,
    )
  })

  test('keeps its status when its body breaks off', async () => {
    await using receiver = await listen((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\npart')
        setTimeout(() => socket.resetAndDestroy(), 50)
      })
    })
    await using sender = create()
    const answer = await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    expect(answer).toMatchObject({ status: 202, answer: 'part' })
  })
})

/** What a URL can say for this machine, without a name. */
const SPELLINGS = `
  127.0.0.1 2130706433 0x7f.1 127.1 127.0.1 0177.0.0.1 0x7f000001 017700000001 0.0.0.0 0 0x0
  127.0.0.1. 127.1. %31%32%37.0.0.1 127%2e0%2e0%2e1 １２７.0.0.1 127。0。0。1 ①②⑦.⓪.⓪.①
  0X7F.0.0.01 127.0.0.1%2e [::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::127.0.0.1]
  [::ffff:7f00:1] [0000::ffff:7F00:0001] [::ffff:0:0] [::ffff:0.0.0.0] [::ffff:0:127.0.0.1]
  [64:ff9b::127.0.0.1] [2002:7f00:1::] [fe80::1]
`
  .trim()
  .split(/\s+/)

describe('nothing is connected to at', () => {
  test.each(SPELLINGS)('%s, unless an entry allows it', async (spelling) => {
    await using trap = await setTrap()
    await using sender = create()
    for (const scheme of ['http', 'https']) {
      const url = `${scheme}://${spelling}:${trap.port}/`
      expect(URL.parse(url)).not.toBeNull()
      await expect(send(sender, url)).rejects.toThrow(/^refused: .* not allowed$/)
    }
    expect(trap.sockets).toEqual([])
  })

  test.each(SPELLINGS)('%s, even if nobody has judged the URL before', async (spelling) => {
    await using trap = await setTrap()
    const closed = new AbortController().signal
    const rules = { allow: parseAllowList(RECEIVER).rules }
    const connect = createConnector({ rules, lookup, timeoutMs: 1000, closed })
    const canonical = new URL(`http://${spelling}/`).hostname.replace(/^\[|\]$/g, '')
    // Those that the resolver reads as an address, without asking anyone.
    const raw = /^[0-9a-fx.]*[0-9a-f]$/i.test(spelling) ? [spelling] : []
    for (const protocol of ['http:', 'https:']) {
      for (const host of [canonical, ...raw]) {
        const target = { hostname: host, protocol, port: String(trap.port) }
        await expect(promisify(connect)(target)).rejects.toThrow(/^refused: /)
      }
    }
    expect(trap.sockets).toEqual([])
  })

  const answers = [
    ' 127.0.0.1',
    '',
    ...`
    127.0.0.1 ::1 0.0.0.0 :: ::ffff:127.0.0.1 ::ffff:7f00:1 ::127.0.0.1 2130706433 0x7f.1
    127.1 0177.0.0.1 localhost [::1] ::1%lo 10.0.0.1 169.254.169.254 fe80::1%lo
    64:ff9b::7f00:1 2002:7f00:1::
  `
      .trim()
      .split(/\s+/),
  ]

  test.each(answers)('%j, if it is what a name leads to', async (address) => {
    await using trap = await setTrap()
    const connect = stubConnect(net.connect)
    await using sender = create({ lookup: answering(address) })
    for (const scheme of ['http', 'https']) {
      const sent = send(sender, `${scheme}://hooks.example:${trap.port}/`)
      await expect(sent).rejects.toThrow(/^refused: address not allowed$/)
    }
    expect(connect).not.toHaveBeenCalled()
    expect(trap.sockets).toEqual([])
  })

  test.each(['localhost', 'LOCALHOST.', 'localhost.', 'ip6-localhost'])(
    'the name %s, which the machine itself knows',
    async (name) => {
      await using trap = await setTrap()
      await using sender = create()
      const sent = send(sender, `http://${name}:${trap.port}/`)
      await expect(sent).rejects.toThrow(/^(refused: address not allowed$|ENOTFOUND|EAI_AGAIN)/)
      expect(trap.sockets).toEqual([])
    },
  )

  test('a name without an address', async () => {
    await using sender = create({ lookup: answering() })
    await expect(send(sender, 'http://hooks.example/')).rejects.toThrow(/^refused/)
  })
})

test.each(['127.0.0.1', '0x7f.1', '127.0.0.1.', '[::1]', '[::ffff:127.0.0.1]', 'localhost'])(
  'a trap does see the connection to %s that an entry allows',
  async (spelling) => {
    await using trap = await setTrap()
    await using sender = create({ allow: '127.0.0.1 ::1', timeoutMs: 200 })
    const sent = send(sender, `http://${spelling}:${trap.port}/`)
    await expect(sent).rejects.toThrow('timed out after 0.2 s')
    expect(trap.sockets).toHaveLength(1)
    expect(trap.bytes()).toBeGreaterThan(0)
  },
)

describe('a name', () => {
  test('that leads elsewhere the second time is refused then', async () => {
    await using receiver = await receive((_, response) => {
      response.setHeader('Connection', 'close').end()
    })
    const lookup = answering('127.0.0.1').mockResolvedValueOnce([{ address: RECEIVER }])
    await using sender = create({ lookup })
    // 127.0.0.1 has nothing at this port: a connection there would be told as ECONNREFUSED.
    const url = `http://rebinding.example:${receiver.port}/`
    expect((await send(sender, url)).status).toBe(200)
    await expect(send(sender, url)).rejects.toThrow(/^refused: address not allowed$/)
    expect(lookup.mock.calls).toEqual([
      ['rebinding.example', { all: true }],
      ['rebinding.example', { all: true }],
    ])
  })

  test('is looked up once: what is checked is what is connected to', async () => {
    await using trap = await setTrap()
    const lookup = answering('127.0.0.1').mockResolvedValueOnce([{ address: '93.184.216.34' }])
    const tried: unknown[] = []
    stubConnect(({ host, lookup }) => {
      lookup!(host!, { all: true }, (_, found) => tried.push(found))
      return new Socket().destroy(Object.assign(new Error(), { code: 'ENETUNREACH' }))
    })
    await using sender = create({ lookup })
    const sent = send(sender, `http://rebinding.example:${trap.port}/`)
    await expect(sent).rejects.toThrow(/^ENETUNREACH: /)
    expect(lookup).toHaveBeenCalledTimes(1)
    expect(tried).toEqual([[{ address: '93.184.216.34', family: 4 }]])
  })

  test('of several addresses is connected to at the allowed ones only', async () => {
    await using trap = await setTrap()
    const tried: unknown[] = []
    stubConnect(({ host, lookup }) => {
      lookup!(host!, { all: true }, (_, found) => tried.push(found))
      return new Socket().destroy(Object.assign(new Error(), { code: 'ENETUNREACH' }))
    })
    const mixed = ['127.0.0.1', '93.184.216.34', '::1', '2606:4700::1', '::ffff:127.0.0.1']
    await using sender = create({ lookup: answering(...mixed) })
    const sent = send(sender, `http://mixed.example:${trap.port}/`)
    await expect(sent).rejects.toThrow(/^ENETUNREACH: /)
    expect(tried).toEqual([
      [
        { address: '93.184.216.34', family: 4 },
        { address: '2606:4700::1', family: 6 },
      ],
    ])
  })

  test.each(['http', 'https'])(
    'whose %s connection ends up elsewhere is told nothing',
    async (scheme) => {
      await using trap = await setTrap()
      const { connect } = net
      stubConnect(() => connect(trap.port, '127.0.0.1'))
      await using sender = create({ lookup: answering('93.184.216.34') })
      const sent = send(sender, `${scheme}://hooks.example:${trap.port}/`)
      await expect(sent).rejects.toThrow(/^refused: address not allowed$/)
      await vi.waitFor(() => expect(trap.sockets).toHaveLength(1))
      await closed(trap.sockets[0]!)
      expect(trap.bytes()).toBe(0)
    },
  )

  test('that an entry names is sent to wherever it leads, but not at what is denied', async () => {
    await using receiver = await receive((_, response) => response.end())
    const options = { allow: 'hooks.internal', lookup: answering(RECEIVER) }
    const url = `http://hooks.internal.:${receiver.port}/`
    await using sender = create(options)
    expect((await send(sender, url)).status).toBe(200)
    await using wary = create({ ...options, denied: `127.0.0.0/8:${receiver.port}` })
    await expect(send(wary, url)).rejects.toThrow(/^refused: address not allowed$/)
    await using other = create({ ...options, allow: 'hooks.internal:1' })
    await expect(send(other, url)).rejects.toThrow(/^refused: address not allowed$/)
    expect(receiver.received).toHaveLength(1)
  })

  test('whose first address does not answer is reached at the next', async () => {
    await using receiver = await receive((_, response) => response.end())
    await using sender = create({
      allow: `${RECEIVER} 127.0.0.3`,
      lookup: answering('127.0.0.3', RECEIVER),
    })
    expect((await send(sender, `http://hooks.example:${receiver.port}/`)).status).toBe(200)
  })
})

describe('what takes too long:', () => {
  const timeoutMs = 200

  test('a name that is not resolved', async () => {
    await using sender = create({ timeoutMs, lookup: () => new Promise(() => {}) })
    await expect(send(sender, 'http://hooks.example/')).rejects.toThrow(/^timed out after 0.2 s$/)
  })

  test('a handshake that is not answered', async () => {
    await using receiver = await listen()
    await using sender = create({ timeoutMs })
    const sent = send(sender, `https://${RECEIVER}:${receiver.port}/`)
    await expect(sent).rejects.toThrow(/^timed out after 0.2 s$/)
    await closed(receiver.sockets[0]!)
  })

  test('a head that does not end', async () => {
    await using receiver = await listen((socket) =>
      trickle(socket, 'HTTP/1.1 200 OK\r\n', 'a: b\r\n'),
    )
    await using sender = create({ timeoutMs })
    const sent = send(sender, `http://${RECEIVER}:${receiver.port}/`)
    await expect(sent).rejects.toThrow(/^timed out after 0.2 s$/)
    await closed(receiver.sockets[0]!)
  })

  test('no end of heads before the head', async () => {
    await using receiver = await listen((socket) =>
      trickle(socket, '', 'HTTP/1.1 103 Early Hints\r\n\r\n'),
    )
    await using sender = create({ timeoutMs })
    const sent = send(sender, `http://${RECEIVER}:${receiver.port}/`)
    await expect(sent).rejects.toThrow(/^timed out after 0.2 s$/)
    await closed(receiver.sockets[0]!)
  })

  test('an answer that does not end keeps its status', async () => {
    const head = 'HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n'.replace('204 No', '200 OK')
    await using receiver = await listen((socket) => trickle(socket, head, '1\r\na\r\n'))
    await using sender = create({ timeoutMs })
    const { status, answer } = await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    expect(status).toBe(200)
    expect(answer).toMatch(/^a+$/)
    await closed(receiver.sockets[0]!)
  })

  test('a receiver that does not read the body', async () => {
    await using receiver = await listen((socket) => socket.pause())
    await using sender = create({ timeoutMs })
    const sent = send(sender, `http://${RECEIVER}:${receiver.port}/`, {
      body: Buffer.alloc(50_000_000),
    })
    await expect(sent).rejects.toThrow(/^timed out after 0.2 s$/)
  })

  test('a receiver that does not read a streamed body, which is let go of', async () => {
    await using receiver = await listen((socket) => socket.pause())
    await using sender = create({ timeoutMs })
    const left = Promise.withResolvers<void>()
    const read = async function* () {
      try {
        for (let count = 0; count < 1000; count += 1) yield Buffer.alloc(50_000)
      } finally {
        left.resolve()
      }
    }
    const body = { length: 50_000_000, read }
    const sent = send(sender, `http://${RECEIVER}:${receiver.port}/`, { body })
    await expect(sent).rejects.toThrow(/^timed out after 0.2 s$/)
    await left.promise
  })

  test('a body that does not come', async () => {
    await using receiver = await receive((_, response) => response.end())
    await using sender = create({ timeoutMs })
    const read = async function* () {
      yield Buffer.from('a')
      await new Promise(() => {})
    }
    const sent = send(sender, `http://${RECEIVER}:${receiver.port}/`, { body: { length: 2, read } })
    await expect(sent).rejects.toThrow(/^timed out after 0.2 s$/)
    await closed(receiver.sockets[0]!)
    expect(receiver.received).toEqual([])
  })
})

/** Goes on saying it every 20 ms. */
function trickle(socket: Socket, start: string, more: string): void {
  socket.write(start)
  const timer = setInterval(() => socket.write(more), 20)
  socket.on('close', () => clearInterval(timer))
  socket.resume()
}

async function closed(socket: Socket): Promise<void> {
  await vi.waitFor(() => expect(socket.closed).toBe(true))
}

describe('to one host', () => {
  /** Holds every answer until it is let go. */
  async function hold() {
    const held: (() => void)[] = []
    const receiver = await receive((_, response) => held.push(() => response.end()))
    return Object.assign(receiver, {
      held,
      letGo: () => held.splice(0).forEach((answer) => answer()),
    })
  }

  test('only so many requests are in flight; others wait, and their time is not counted', async () => {
    await using receiver = await hold()
    await using sender = create({ timeoutMs: 1000 })
    const url = `http://${RECEIVER}:${receiver.port}/`
    const sent = Array.from({ length: 10 }, () => send(sender, url))
    for (const count of [4, 4, 2]) {
      await vi.waitFor(() => expect(receiver.held).toHaveLength(count))
      await sleep(500)
      expect(receiver.held).toHaveLength(count)
      receiver.letGo()
    }
    const answers = await Promise.all(sent)
    expect(Math.max(...answers.map(({ latencyMs }) => latencyMs))).toBeLessThan(1000)
    expect(receiver.sockets.length).toBeLessThanOrEqual(4)
  })

  test('requests wait for no other host, and pass by no other port or case', async () => {
    await using receiver = await hold()
    await using another = await hold()
    const lookup = answering(RECEIVER)
    await using sender = create({ maxInFlight: 1, lookup })
    const sent = [
      send(sender, `http://a.example:${receiver.port}/`),
      send(sender, `http://b.example:${receiver.port}/`),
      send(sender, `http://A.example.:${another.port}/`),
    ]
    await vi.waitFor(() => expect(receiver.held).toHaveLength(2))
    await sleep(50)
    expect(another.received).toHaveLength(0)
    receiver.letGo()
    await vi.waitFor(() => expect(another.held).toHaveLength(1))
    another.letGo()
    await Promise.all(sent)
  })

  test('a request that is cancelled while it waits leaves the line; one in flight frees its slot', async () => {
    await using receiver = await hold()
    await using sender = create({ maxInFlight: 1 })
    const url = `http://${RECEIVER}:${receiver.port}/`
    const [first, second] = [new AbortController(), new AbortController()]
    const sent = [
      send(sender, url, { signal: first.signal }),
      send(sender, url, { signal: second.signal }),
      send(sender, url),
    ]
    await vi.waitFor(() => expect(receiver.held).toHaveLength(1))
    second.abort()
    await expect(sent[1]).rejects.toThrow(/^cancelled$/)
    first.abort(new Error('internal'))
    await expect(sent[0]).rejects.toThrow(/^cancelled$/)
    await vi.waitFor(() => expect(receiver.received).toHaveLength(2))
    receiver.letGo()
    expect((await sent[2]!).status).toBe(200)
    await expect(send(sender, url, { signal: first.signal })).rejects.toThrow(/^cancelled$/)
    expect(receiver.received).toHaveLength(2)
  })

  test('failures free their slots', async () => {
    await using sender = create({ maxInFlight: 1, lookup: answering('127.0.0.1') })
    for (let count = 0; count < 20; count += 1) {
      await expect(send(sender, 'http://hooks.example/')).rejects.toThrow(/^refused/)
    }
  })

  test('a connection is used again, but idle for a few seconds only, whatever the receiver says', async () => {
    await using receiver = await listen((socket) => {
      socket.on('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 0\r\n\r\n')
      })
    })
    await using sender = create()
    await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    await sleep(50)
    await send(sender, `http://${RECEIVER}:${receiver.port}/`)
    expect(receiver.sockets).toHaveLength(1)
    await vi.waitFor(() => expect(receiver.sockets[0]!.closed).toBe(true), 6000)
  }, 10_000)
})

test('closing cancels what is on its way and what waits, and drops connections', async () => {
  await using silent = await listen()
  await using receiver = await receive((_, response) => response.end())
  const sender = create({ maxInFlight: 1, lookup: () => new Promise(() => {}) })
  await send(sender, `http://${RECEIVER}:${receiver.port}/`)
  const sent = [
    send(sender, `http://${RECEIVER}:${silent.port}/`),
    send(sender, `http://${RECEIVER}:${silent.port}/`),
    send(sender, 'http://hooks.example/'),
  ].map((each) => expect(each).rejects.toThrow(/^cancelled$/))
  await vi.waitFor(() => expect(silent.sockets).toHaveLength(1))
  await sender.close()
  await Promise.all(sent)
  await closed(silent.sockets[0]!)
  await closed(receiver.sockets[0]!)
  const url = `http://${RECEIVER}:${receiver.port}/`
  await expect(send(sender, url)).rejects.toThrow(/^cancelled$/)
  expect(receiver.received).toHaveLength(1)
})

describe('a failure', () => {
  test('is told by its code, without names, addresses or contents', async () => {
    await using sender = create({
      lookup: () =>
        Promise.reject(
          Object.assign(new Error('getaddrinfo ENOTFOUND db.internal'), { code: 'ENOTFOUND' }),
        ),
    })
    await expect(send(sender, 'http://db.internal/')).rejects.toThrow(
      /^ENOTFOUND: the name has no address$/,
    )
    await expect(send(sender, `http://${RECEIVER}:1/`)).rejects.toThrow(
      /^ECONNREFUSED: nothing accepts connections there$/,
    )
    await using receiver = await listen((socket) => socket.once('data', () => socket.destroy()))
    await expect(send(sender, `http://${RECEIVER}:${receiver.port}/`)).rejects.toThrow(
      /^(UND_ERR_SOCKET|ECONNRESET): the connection was (closed|reset)$/,
    )
  })

  test('at every address of a name is told once', async () => {
    await using sender = create({
      allow: '127.0.0.0/8',
      lookup: answering('127.0.0.2', '127.0.0.3'),
    })
    await expect(send(sender, 'http://hooks.example:1/')).rejects.toThrow(/^ECONNREFUSED: /)
  })

  test('without a code is told as just that', async () => {
    const lookup = () => Promise.reject(new Error('password=1234'))
    await using sender = create({ lookup })
    await expect(send(sender, 'http://hooks.example/')).rejects.toThrow(/^failed$/)
  })
})
