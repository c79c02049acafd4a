import { cpus, loadavg, release, totalmem } from 'node:os'
import type { EngineClient } from './engine-client.ts'

interface Info {
  readonly ServerVersion: string
  readonly DefaultRuntime: string
  readonly Driver: string
  readonly CgroupVersion?: string
}

/** One line on what the figures were measured with. */
export async function describeMachine(engine: EngineClient): Promise<string> {
  const info = await engine.send<Info>('GET', '/info')
  const cores = cpus()
  return [
    `${cores.length} cores (${cores[0]?.model.trim() ?? 'unknown'})`,
    `${Math.round(totalmem() / 1024 ** 3)} GiB`,
    `Linux ${release()}`,
    `Docker Engine ${info.ServerVersion} (${info.DefaultRuntime}, ${info.Driver}, cgroup v${info.CgroupVersion ?? '1'})`,
    `Node ${process.versions.node}`,
  ].join(', ')
}

/** What else the machine does: 1, 5 and 15 minutes' load. A ratio stands it; a figure in milliseconds doesn't. */
export function describeLoad(): string {
  return loadavg()
    .map((load) => load.toFixed(2))
    .join(' ')
}
