import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Docker from 'dockerode'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ask, toEngineError, upgrade } from '../../src/engine/docker.ts'
import { findAddresses } from '../../src/engine/endpoint.ts'

/** What an engine may do to a connection, played by a real server. */
async function connectTo(
  answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void,
): Promise<Docker> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return new Docker({ host: '127.0.0.1', port, protocol: 'http' })
}

test.each([
  [{ socketPath: '/run/docker.sock' }, []],
  [{ host: '127.0.0.1', port: 4243, protocol: 'http' }, ['127.0.0.1:4243']],
  [{ host: '::1', port: 2376, protocol: 'https' }, ['[::1]:2376']],
  [{ host: 'no-such-host.invalid', port: 2376, protocol: 'https' }, ['no-such-host.invalid:2376']],
] as const)('an engine at %j is spoken to at %j', async (options, endpoints) => {
  expect(await findAddresses(new Docker(options))).toEqual(endpoints)
})

const request = { method: 'POST', path: '/containers/x/wait' } as const

describe('a request to the engine', () => {
  test('gives its answer', async () => {
    const docker = await connectTo((incoming, outgoing) => {
      outgoing.end(JSON.stringify({ method: incoming.method, url: incoming.url }))
    })
    expect(await ask(docker, request)).toEqual({ method: 'POST', url: '/containers/x/wait' })
  })

  test('rejects with the status and the words of a refusal', async () => {
    const docker = await connectTo((_incoming, outgoing) => {
      outgoing.writeHead(409).end(JSON.stringify({ message: 'no such luck' }))
    })
    const refused = { statusCode: 409, json: { message: 'no such luck' } }
    await expect(ask(docker, request)).rejects.toMatchObject(refused)
  })

  test.each([
    [
      'is reset before its head',
      (outgoing: ServerResponse) => void outgoing.socket?.resetAndDestroy(),
    ],
    [
      'is reset after its head',
      (outgoing: ServerResponse) => {
        outgoing.writeHead(200, { 'Content-Type': 'application/json' })
        outgoing.write('{"Stat')
        setImmediate(() => outgoing.socket?.resetAndDestroy())
      },
    ],
    [
      'is cut off after its head',
      (outgoing: ServerResponse) => {
        outgoing.writeHead(200, { 'Content-Length': 100 })
        outgoing.write('{"Stat')
        setImmediate(() => outgoing.destroy())
      },
    ],
  ])('rejects at once if its connection %s, and nothing else is harmed', async (_, breakOff) => {
    const docker = await connectTo((_incoming, outgoing) => breakOff(outgoing))
    const error = await ask(docker, request).catch((cause: unknown) => cause)
    expect(toEngineError(error)).toMatchObject({ code: 'engine_unreachable' })
  })
})

describe('an upgrade', () => {
  test('that the engine does not grant is an error', async () => {
    const docker = await connectTo((_incoming, outgoing) => outgoing.writeHead(404).end('{}'))
    await expect(upgrade(docker, '/containers/x/attach')).rejects.toMatchObject({ statusCode: 404 })
  })

  test('that is granted gives a connection whose failure harms nobody', async () => {
    const server = createServer()
    server.on('upgrade', (_incoming, socket) => {
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst')
      socket.once('data', () => socket.destroy())
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const connection = await upgrade(
      new Docker({ host: '127.0.0.1', port, protocol: 'http' }),
      '/containers/x/attach',
    )
    const [first] = (await once(connection, 'data')) as [Buffer]
    expect(String(first)).toBe('first')
    connection.write('over')
    await once(connection, 'close')
    expect(connection.destroyed).toBe(true)
  })
})
