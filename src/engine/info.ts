import type Docker from 'dockerode'
import { ask, toEngineError } from './docker.ts'
import type { EngineInfo } from './engine.ts'

/** An engine that takes longer is not there for those who ask, such as a load balancer. */
const PATIENCE_MS = 4_000

/** What `GET /info` says, as far as it concerns us. */
interface Info {
  readonly Name: string
  readonly ServerVersion: string
  readonly OperatingSystem: string
  readonly DockerRootDir?: string
  readonly CgroupDriver?: string
  readonly MemoryLimit?: boolean
  readonly PidsLimit?: boolean
  readonly Plugins?: { readonly Log?: readonly string[] | null }
}

/** Rejects with `engine_unreachable`. */
export async function readEngineInfo(docker: Docker): Promise<EngineInfo> {
  const question = { method: 'GET', path: '/info', withinMs: PATIENCE_MS } as const
  const info = (await ask(docker, question).catch((error: unknown) => {
    throw toEngineError(error)
  })) as Info
  return {
    name: info.Name,
    version: info.ServerVersion,
    os: info.OperatingSystem,
    ...(info.DockerRootDir && { dataRoot: info.DockerRootDir }),
    warnings: toWarnings(info),
  }
}

/** Some engines, such as rootless ones on cgroup v1, take limits and then ignore them in silence. */
function toWarnings(info: Info): string[] {
  const warnings: string[] = []
  if (info.CgroupDriver === 'none') {
    warnings.push('The engine has no cgroups: it ignores the limits of memory, CPU and processes.')
  } else {
    if (info.MemoryLimit === false) warnings.push('The engine ignores memory limits.')
    if (info.PidsLimit === false) warnings.push('The engine ignores limits on processes.')
  }
  if (info.Plugins?.Log && !info.Plugins.Log.includes('local')) {
    warnings.push(
      'The engine has no log driver "local", which Oneshot needs: containers cannot be made.',
    )
  }
  return warnings
}
