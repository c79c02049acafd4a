import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OneshotError } from '../core/error.ts'

export interface SshTarget {
  readonly host: string
  readonly user?: string
  readonly port?: string
  /** Of the engine, on that host. */
  readonly socketPath: string
}

export interface ForwardOptions extends SshTarget {
  /** What `ssh` had to say, each time that it has ended. */
  readonly onTrouble: (message: string) => void
}

export interface Forward {
  /** A socket here, which leads there for as long as `ssh` is connected. */
  readonly path: string
  close(): void
}

/** How long after its end `ssh` is started again. */
const RETRY_MS = 2_000
const MAX_MESSAGE_CHARS = 2_000

/** Reads `ssh://[USER@]HOST[:PORT][/SOCKET]`. Throws `engine_unreachable`. */
export function parseSshUrl(text: string): SshTarget {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const user = url && decode(url.username)
  if (!url?.hostname || user === undefined || url.password || url.search || url.hash) {
    const shown = url?.password ? 'ssh://… with a password' : `"${text}"`
    const detail = `DOCKER_HOST has ${shown}: write ssh://[USER@]HOST[:PORT][/SOCKET], without a password: keys are those of ssh itself.`
    throw new OneshotError('engine_unreachable', detail)
  }
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    ...(user && { user }),
    ...(url.port && { port: url.port }),
    socketPath: url.pathname.length > 1 ? url.pathname : '/var/run/docker.sock',
  }
}

/** Undefined: not in the way of URLs. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Keeps an `ssh` that forwards the engine's socket, and starts it again whenever it ends. */
export function forwardSocket({ onTrouble, ...target }: ForwardOptions): Forward {
  const folder = mkdtempSync(join(tmpdir(), 'oneshot-ssh-'))
  const path = join(folder, 'docker.sock')
  let program: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined
  let isClosed = false

  function start(): void {
    let message = ''
    program = spawn('ssh', toArguments(target, path), { stdio: ['ignore', 'ignore', 'pipe'] })
    program.stderr?.on('data', (chunk: Buffer) => {
      message = (message + chunk.toString()).slice(-MAX_MESSAGE_CHARS)
    })
    program.once('error', (error) => {
      message += error.message
    })
    program.once('close', () => {
      if (isClosed) return
      onTrouble(message.trim() || 'ssh has ended')
      timer = setTimeout(start, RETRY_MS).unref()
    })
  }

  function close(): void {
    isClosed = true
    process.removeListener('exit', close)
    clearTimeout(timer)
    program?.kill()
    rmSync(folder, { recursive: true, force: true })
  }

  start()
  // Of a process that ends without closing it, as by an error, it would stay connected for ever.
  process.once('exit', close)
  return { path, close }
}

function toArguments({ host, user, port, socketPath }: SshTarget, path: string): string[] {
  const options = [
    'BatchMode=yes',
    'ExitOnForwardFailure=yes',
    'StreamLocalBindUnlink=yes',
    'ConnectTimeout=10',
    'ServerAliveInterval=10',
    'ServerAliveCountMax=3',
    // A connection of its own: one that is shared would not end with it.
    'ControlMaster=no',
    'ControlPath=none',
  ]
  return [
    '-N',
    '-T',
    ...options.flatMap((option) => ['-o', option]),
    ...(user === undefined ? [] : ['-l', user]),
    ...(port === undefined ? [] : ['-p', port]),
    '-L',
    `${path}:${socketPath}`,
    '--',
    host,
  ]
}
