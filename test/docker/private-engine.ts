import { execFile } from 'node:child_process'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const script = join(import.meta.dirname, '../../scripts/engine')

/** An engine of a test's own, which it may stop and start as it likes. Needs root, as any engine does. */
export interface PrivateEngine {
  /** For `DOCKER_HOST`. */
  readonly address: string
  up(): Promise<void>
  /** Ends it in good order: it stops its containers first. */
  down(): Promise<void>
  /** Ends it as a crash would. */
  kill(): Promise<void>
  /** Ends it and deletes all that it had. */
  purge(): Promise<void>
}

/** Starts one that has `image`, copied from the engine of DOCKER_HOST. */
export async function startPrivateEngine(image: string): Promise<PrivateEngine> {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-engine-'))
  const address = `unix://${folder}/run/docker.sock`
  const env = { ...process.env, ONESHOT_ENGINE_DIR: folder }
  // A network of its own: two engines on one would share a bridge, and one without a bridge (`--bridge=none`) deletes
  // that of the engine which serves the other tests.
  const engine = async (...args: string[]) =>
    void (await run('unshare', ['--net', script, ...args], { env }))
  const up = () => engine('up')
  await up()
  await run('sh', ['-c', 'docker save "$1" | docker -H "$2" load -q', 'sh', image, address])
  return {
    address,
    up,
    down: () => engine('down'),
    async kill() {
      const pid = Number(await readFile(join(folder, 'run/docker.pid'), 'utf8'))
      process.kill(pid, 'SIGKILL')
    },
    purge: () => engine('down', '--purge'),
  }
}
