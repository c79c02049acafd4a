import { once } from 'node:events'
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { callbackify } from 'node:util'
import type { buildConnector } from 'undici'
import { isAllowedAddress, type TargetRules, toHostname, toPort } from '../core/callback-target.ts'
import { SendError } from './failure.ts'
import { createStop } from './stop.ts'

/** All addresses of a name. `node:dns/promises` has it. */
export type Lookup = (
  hostname: string,
  options: { readonly all: true },
) => Promise<readonly { readonly address: string }[]>

interface Limits {
  readonly rules: TargetRules
  readonly lookup: Lookup
  /** For the name, the connection and the handshake together. */
  readonly timeoutMs: number
  readonly closed: AbortSignal
}

interface Peer {
  readonly hostname: string
  readonly port: number
}

/** Connects undici to allowed addresses only. What is checked is what is connected to: a name is resolved here, once. */
export function createConnector(limits: Limits): buildConnector.connector {
  async function open({ hostname, port, protocol }: buildConnector.Options): Promise<Socket> {
    using stop = createStop([limits.closed])
    stop.after(limits.timeoutMs)
    const peer = { hostname, port: toPort({ port, protocol }) }
    try {
      return await connect(peer, protocol === 'https:', limits, stop.signal)
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : error
    }
  }
  return callbackify(open) as unknown as buildConnector.connector
}

async function connect(peer: Peer, secure: boolean, limits: Limits, signal: AbortSignal) {
  signal.throwIfAborted()
  const isAllowed = (address: string) => isAllowedAddress({ ...peer, address }, limits.rules)
  const addresses = (await resolve(peer.hostname, limits.lookup, signal)).filter(isAllowed)
  if (addresses.length === 0) throw new SendError('refused: address not allowed')
  const socket = connectTcp({
    host: peer.hostname,
    port: peer.port,
    lookup: answering(addresses),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: 1000,
    noDelay: true,
  })
  await until(socket, 'connect', signal)
  const { remoteAddress } = socket
  if (remoteAddress === undefined || !isAllowed(remoteAddress)) {
    socket.destroy()
    throw new SendError('refused: address not allowed')
  }
  return secure ? encrypt(socket, peer.hostname, signal) : socket
}

async function encrypt(socket: Socket, hostname: string, signal: AbortSignal): Promise<Socket> {
  const encrypted = connectTls({
    socket,
    host: hostname,
    // The name to ask for, and to verify; an address is not asked for (RFC 6066, section 3).
    ...(isIP(hostname) === 0 && { servername: toHostname({ hostname }) }),
    ALPNProtocols: ['http/1.1'],
    // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
  })
  await until(encrypted, 'secureConnect', signal)
  return encrypted
}

/** A socket that fails, or isn't there in time, is destroyed. */
async function until(socket: Socket, event: string, signal: AbortSignal): Promise<void> {
  // Between two listeners a failure must not end the process: whoever uses the socket next meets it.
  socket.on('error', () => {})
  try {
    await once(socket, event, { signal })
  } catch (error) {
    socket.destroy()
    throw error
  }
}

async function resolve(hostname: string, lookup: Lookup, signal: AbortSignal): Promise<string[]> {
  if (isIP(hostname) !== 0) return [hostname]
  const { promise: over, reject } = Promise.withResolvers<never>()
  const stop = () => reject(signal.reason as Error)
  signal.addEventListener('abort', stop)
  try {
    const found = await Promise.race([lookup(hostname, { all: true }), over])
    return found.map(({ address }) => address)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** What stands in for the resolver once the addresses are checked. */
function answering(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIP(address) }))
  return (_hostname, { all }, callback) => {
    if (all) callback(null, found)
    else callback(null, found[0]!.address, found[0]!.family)
  }
}
