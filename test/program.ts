import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'

const root = join(import.meta.dirname, '..')

/** One line of the program's log. */
type LogRecord = Readonly<Record<string, unknown>>

/** The whole gateway in a process of its own, as `npm start` runs it. */
export interface Program extends AsyncDisposable {
  /** Where it listens, without a slash at the end. */
  readonly url: string
  readonly pid: number
  /** The folder of its definitions. */
  readonly functionsFolder: string
  /** What it has logged so far; grows. */
  readonly logs: readonly LogRecord[]
  /** Asks it to end and waits until it has: its exit code, null if a signal ended it. The same signal is sent once. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export interface ProgramOptions {
  /** Added to the program's environment; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Definitions by name, served instead of the gallery. */
  readonly functions?: Readonly<Record<string, string>>
  /** Keeps a terminal's signals from it: a second one, after that of `stop`, would end it before it has cleaned up. */
  readonly detached?: boolean
  /** Ends it with SIGKILL at once, even before it listens. */
  readonly kill?: AbortSignal
}

/**
 * Starts the gateway on a free port with a data folder of its own, and returns once it listens.
 * Rejects with the exit code and what it wrote, if it ends before that.
 */
export async function startProgram(options: ProgramOptions = {}): Promise<Program> {
  const { env = {}, functions, detached = false, kill } = options
  const temporary = await mkdtemp(join(tmpdir(), 'oneshot-'))
  const functionsFolder = join(functions ? temporary : root, 'functions')
  if (functions) await mkdir(functionsFolder)
  for (const [name, definition] of Object.entries(functions ?? {})) {
    await writeFile(join(functionsFolder, `${name}.yml`), definition)
  }
  const child = spawn(process.execPath, ['--max-semi-space-size=2', 'src/start.js'], {
    cwd: root,
    env: {
      ...withoutSettings(process.env),
      ONESHOT_HOST: '127.0.0.1',
      ONESHOT_PORT: '0',
      ONESHOT_DATA: join(temporary, 'data'),
      ONESHOT_FUNCTIONS: functionsFolder,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached,
  })
  kill?.addEventListener('abort', () => child.kill('SIGKILL'))
  const ended = once(child, 'close').then(async ([code]) => {
    await rm(temporary, { recursive: true, force: true })
    return code as number | null
  })
  const complaint = text(child.stderr)
  const output: string[] = []
  const logs: LogRecord[] = []
  const listening = new Promise<string>((resolve) => {
    createInterface(child.stdout).on('line', (line) => {
      output.push(line)
      const record = parseRecord(line)
      if (record === undefined) return
      logs.push(record)
      if (record['msg'] === 'listening') resolve(String(record['url']).replace(/\/$/, ''))
    })
  })
  const failed = ended.then(async (code) => {
    const wrote = [...output, await complaint].join('\n')
    throw new Error(`the gateway ended with ${code} before it listened:\n${wrote}`)
  })
  const url = await Promise.race([listening, failed])

  let sent: NodeJS.Signals | undefined
  const stop = (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> => {
    if (signal !== sent) child.kill(signal)
    sent = signal
    return ended
  }
  return {
    url,
    pid: child.pid as number,
    functionsFolder,
    logs,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop()
    },
  }
}

/** The settings of whoever runs the tests are not the tests' settings. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('ONESHOT_')))
}

function parseRecord(line: string): LogRecord | undefined {
  try {
    return JSON.parse(line) as LogRecord
  } catch {
    return undefined
  }
}
