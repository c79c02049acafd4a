import { execFile } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const script = join(import.meta.dirname, '../../scripts/engine')

/** An engine of a test's own, which it may stop and start as it likes. Needs root or sudo: a user who may only use Docker can't start one. */
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

/** Starts one that has these images, copied from the engine of DOCKER_HOST. */
export async function startPrivateEngine(...images: readonly string[]): Promise<PrivateEngine> {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-engine-'))
  const address = `unix://${folder}/run/docker.sock`
  // Without a bridge (`--bridge=none`) it would delete that of the engine which serves the other tests.
  const env = { ...process.env, ONESHOT_ENGINE_DIR: folder, ONESHOT_ENGINE_NETWORK: 'own' }
  const engine = async (...args: string[]) => void (await run(script, args, { env }))
  const up = () => engine('up')
  await up()
  const purge = () => engine('down', '--purge')
  const copy = 'to=$1; shift; docker save "$@" | docker -H "$to" load -q'
  await run('sh', ['-c', copy, 'sh', address, ...images]).catch(async (error: unknown) => {
    await purge()
    throw error
  })
  return {
    address,
    up,
    down: () => engine('down'),
    kill: () => engine('kill'),
    purge,
  }
}
