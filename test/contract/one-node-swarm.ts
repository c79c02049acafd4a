import type { TestProject } from 'vitest/node'
import { startPrivateSwarm } from '../docker/private-swarm.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** `DOCKER_HOST` of this run's tests, if it is not that of whoever runs them. */
    readonly dockerHost: string
  }
}

/** Runs once, before all tests of a run: an engine of its own, which manages a swarm of one node. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const engine = await startPrivateSwarm('oneshot/href-counter')
  project.provide('backend', 'swarm')
  project.provide('dockerHost', engine.address)
  project.provide('leftovers', [])
  return () => engine.purge()
}
