import Docker from 'dockerode'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** The ids of the gateways' containers that were there before the tests: none of their doing. */
    readonly leftovers: readonly string[]
  }
}

/** Runs once, before all tests of a run. */
export async function setup(project: TestProject): Promise<void> {
  const filters = { label: ['oneshot.gateway'] }
  const containers = await new Docker().listContainers({ all: true, filters })
  project.provide('backend', 'container')
  project.provide(
    'leftovers',
    containers.map(({ Id }) => Id),
  )
}
