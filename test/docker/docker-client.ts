import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * Runs a command of Docker's own client on the engine of DOCKER_HOST: what it printed, without the last newline.
 * Builds use the classic builder, the only one that every engine has. Rejects with its stderr if it fails.
 */
export async function docker(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('docker', args, {
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout.trimEnd()
}
