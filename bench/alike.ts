import { isDeepStrictEqual } from 'node:util'
import type { ContainerWatch } from './container-watch.ts'
import type { Contestant } from './contestant.ts'
import type { EngineClient } from './engine-client.ts'

/** Rejects if the engine was asked for containers that differ in more than how they are removed. */
export async function checkAlike(
  engine: EngineClient,
  watch: ContainerWatch,
  contestants: readonly Contestant[],
): Promise<void> {
  const seen: Record<string, unknown>[] = []
  for (const contestant of contestants) {
    const inspect = async () => {
      const id = await watch.created()
      const { HostConfig } = await engine.send<{ HostConfig: Record<string, unknown> }>(
        'GET',
        `/containers/${id}/json`,
      )
      return HostConfig
    }
    const [hostConfig] = await Promise.all([inspect(), contestant.call()])
    await watch.removed(1)
    seen.push(withoutDefaults(hostConfig))
  }
  const [first, ...others] = seen
  for (const [i, other] of others.entries()) {
    if (isDeepStrictEqual(first, other)) continue
    const names = `${contestants[0]!.name} and ${contestants[i + 1]!.name}`
    throw new Error(`${names} differ:\n${JSON.stringify(first)}\n${JSON.stringify(other)}`)
  }
}

/** Unset, empty and zero mean the same to the engine, and clients differ in which they send. */
function withoutDefaults(hostConfig: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const isDefault = (value: unknown) =>
    !value || value === -1 || (typeof value === 'object' && Object.keys(value).length === 0)
  return Object.fromEntries(
    Object.entries(hostConfig).filter(([key, value]) => key !== 'AutoRemove' && !isDefault(value)),
  )
}
