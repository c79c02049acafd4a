import { docker } from './docker-client.ts'
import type { PrivateEngine } from './private-engine.ts'
import { startPrivateEngine } from './private-engine.ts'

/** Starts an engine of a test's own, with these images, that manages a swarm of one node. */
export async function startPrivateSwarm(...images: readonly string[]): Promise<PrivateEngine> {
  const engine = await startPrivateEngine('busybox:stable', ...images)
  try {
    // Its network namespace is new: the managers' address has to be brought up first.
    await inNetworkOf(engine, 'ip', 'link', 'set', 'lo', 'up')
    await docker('--host', engine.address, 'swarm', 'init', '--advertise-addr=127.0.0.1')
  } catch (error) {
    await engine.purge()
    throw error
  }
  return engine
}

/** Runs a command of busybox's where the engine's published ports are reached: it has a network namespace of its own. */
export function inNetworkOf(engine: PrivateEngine, ...command: readonly string[]): Promise<string> {
  const options = ['--rm', '--network=host', '--cap-add=NET_ADMIN']
  return docker('--host', engine.address, 'run', ...options, 'busybox:stable', ...command)
}
