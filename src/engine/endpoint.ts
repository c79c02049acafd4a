import { lookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import Docker from 'dockerode'
import type { DockerOptions } from 'dockerode'
import { OneshotError } from '../core/error.ts'
import { toConnection } from './docker.ts'
import { forwardSocket, parseSshUrl } from './ssh.ts'

export interface EndpointOptions {
  /** As `DOCKER_HOST` names it, such as `tcp://10.0.0.1:2376`; undefined: the standard socket. */
  readonly host: string | undefined
  /** Folder of `ca.pem`, `cert.pem` and `key.pem`, as `DOCKER_CERT_PATH` names it. */
  readonly certificates?: string | undefined
  /** TLS without certificates of its own as well, as `DOCKER_TLS_VERIFY` asks for: its authority is one of the system's then. */
  readonly isSecure?: boolean
  /** Told why an engine's host can't be reached, by whatever reaches it for us. */
  readonly onTrouble: (message: string) => void
}

/** A client for an engine. It speaks whatever API version the engine has. */
export interface Endpoint {
  readonly docker: Docker
  close(): void
}

/**
 * Connects to where `host` says: over TLS if that is asked for, there are certificates for it or the port is 2376; by the `ssh` program,
 * with its own configuration and keys. Throws `engine_unreachable` for what is no address. Whether an engine is there
 * shows with the first request.
 */
export function connectEndpoint(options: EndpointOptions): Endpoint {
  const { host, onTrouble } = options
  if (host?.startsWith('ssh://')) {
    const forward = forwardSocket({ ...parseSshUrl(host), onTrouble })
    return { docker: new Docker({ socketPath: forward.path }), close: forward.close }
  }
  return { docker: new Docker(toOptions(options)), close() {} }
}

function toOptions({ host, certificates, isSecure: isAsked }: EndpointOptions): DockerOptions {
  // dockerode knows where sockets are that have no name.
  if (host === undefined || host === 'unix://') return {}
  if (host.startsWith('unix:///')) return { socketPath: host.slice('unix://'.length) }
  const text = host.includes('://') ? host : `tcp://${host}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url?.hostname || !['tcp:', 'http:', 'https:'].includes(url.protocol)) {
    const detail = `DOCKER_HOST has "${host}", which is no address of an engine: write unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST.`
    throw new OneshotError('engine_unreachable', detail)
  }
  const isSecure =
    isAsked || certificates !== undefined || url.port === '2376' || url.protocol === 'https:'
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port || (isSecure ? 2376 : 2375),
    protocol: isSecure ? 'https' : 'http',
    pathPrefix: url.pathname,
    ...(certificates !== undefined && readCertificates(certificates)),
  } as DockerOptions
}

function readCertificates(folder: string) {
  const read = (name: string) => {
    try {
      return readFileSync(join(folder, name))
    } catch (error) {
      const detail = `DOCKER_CERT_PATH: ${join(folder, name)} can't be read: TLS needs ca.pem, cert.pem and key.pem there.`
      throw new OneshotError('engine_unreachable', detail, { cause: error })
    }
  }
  return { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') }
}

/** The engine's socket on this host: none if it is spoken to over TCP. */
export async function findSocketPath(docker: Docker): Promise<string[]> {
  const { host, getSocketPath } = toConnection(docker)
  const path = host === undefined ? await getSocketPath.call(docker.modem) : undefined
  return path === undefined ? [] : [path]
}

/** Where the engine is spoken to over TCP, as `HOST:PORT` for its name and for each of the name's addresses: none if it is a socket. */
export async function findAddresses(docker: Docker): Promise<string[]> {
  const { host, port = 2375 } = toConnection(docker)
  if (host === undefined) return []
  const name = host.replace(/^\[|\]$/g, '')
  const found = await lookup(name, { all: true }).catch(() => [])
  const hosts = new Set([name, ...found.map(({ address }) => address)])
  return [...hosts].map((each) => `${isIPv6(each) ? `[${each}]` : each}:${port}`)
}
