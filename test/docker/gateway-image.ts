import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { docker } from './docker-client.ts'
import { buildNodeBase } from './node-base.ts'

const root = join(import.meta.dirname, '../..')
const base = 'node:26-slim'
const standIn = 'oneshot-test/node-base:local'
const dependencies = 'oneshot-test/dependencies:local'
const gateway = 'oneshot-test/gateway:local'

export interface GatewayImage {
  readonly tag: string
  /** Removes what the build has made. */
  remove(): Promise<void>
}

/** Builds the gateway's image with the engine of DOCKER_HOST. */
export async function buildGatewayImage(): Promise<GatewayImage> {
  const made: string[] = []
  const remove = async () => void (made.length > 0 && (await docker('rmi', '--force', ...made)))
  try {
    const from = ['--build-arg', `BASE_IMAGE=${await findBase(made)}`]
    // The first stage gets a name as well, so that nothing nameless is left of it. The registry is asked from the host's
    // network, which reaches it wherever this machine does.
    const build = async (tag: string, ...options: string[]): Promise<void> => {
      const network = ['--network', 'host', ...proxies()]
      await docker('build', ...network, ...from, ...options, '--tag', tag, root)
      made.unshift(tag)
    }
    await build(dependencies, '--target', 'dependencies')
    await build(gateway)
    return { tag: gateway, remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** The base image by its own name where it is there or can be pulled, else a stand-in. */
async function findBase(made: string[]): Promise<string> {
  try {
    await docker('image', 'inspect', base).catch(() => pull(base))
    return base
  } catch {
    await buildNodeBase(standIn)
    made.unshift(standIn)
    return standIn
  }
}

/** Rejects if that takes longer than two minutes: then there is no registry that deserves the name. */
async function pull(name: string): Promise<string> {
  const { stdout } = await promisify(execFile)('docker', ['pull', name], { timeout: 120_000 })
  return stdout
}

/** Docker knows these build arguments without being told; their values are taken from the environment. */
function proxies(): string[] {
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy']
  return names.flatMap((name) => (process.env[name] ? ['--build-arg', name] : []))
}
