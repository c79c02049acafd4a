import { randomUUID } from 'node:crypto'
import type { Contestant, Work } from './contestant.ts'
import { COMMAND, IMAGE } from './contestant.ts'
import type { EngineClient } from './engine-client.ts'

interface Task {
  readonly Status: { readonly State: string; readonly Err?: string }
}

const POLL_MS = 100
const OVER = new Set(['complete', 'shutdown', 'failed', 'rejected', 'orphaned'])

/** The managers' own API, by the shortest way: create a service, ask for its task until it is complete, and the removal behind. No output is read. */
export async function createBareSwarm(
  engine: EngineClient,
  { network, labels }: Work,
): Promise<Contestant & AsyncDisposable> {
  // As the gateway has one for functions without a network.
  const closed = `bench-${randomUUID()}`
  if (network === 'none') {
    const body = { Name: closed, Driver: 'overlay', Internal: true }
    await engine.send('POST', '/networks/create', body)
  }
  const { Id: image } = await engine.send<{ Id: string }>('GET', `/images/${IMAGE}/json`)
  const body = {
    Labels: labels,
    TaskTemplate: {
      ContainerSpec: {
        Image: image,
        Args: COMMAND,
        Labels: labels,
        CapabilityDrop: ['ALL'],
        HealthCheck: { Test: ['NONE'] },
        // As the gateway has it where no name server answers.
        ...(network === 'none' && { DNSConfig: { Options: ['timeout:1', 'attempts:1'] } }),
      },
      Resources: { Limits: { MemoryBytes: 512 * 1024 ** 2, Pids: 256 } },
      RestartPolicy: { Condition: 'none' },
      Networks: network === 'none' ? [{ Target: closed }] : [],
      LogDriver: {
        Name: 'local',
        Options: { 'max-size': '10485760', 'max-file': '1', compress: 'false', mode: 'blocking' },
      },
    },
    Mode: { Replicated: { Replicas: 1 } },
    EndpointSpec: { Mode: 'dnsrr' },
  }

  return {
    name: 'bare swarm API',
    async call() {
      const named = { ...body, Name: `bench-${randomUUID()}` }
      const { ID } = await engine.send<{ ID: string }>('POST', '/services/create', named)
      const filters = encodeURIComponent(JSON.stringify({ service: [ID] }))
      for (;;) {
        const [task] = await engine.send<Task[]>('GET', `/tasks?filters=${filters}`)
        const { State = '', Err = '' } = task?.Status ?? {}
        if (State === 'complete') break
        if (OVER.has(State)) throw new Error(`the bare swarm's task is ${State}: ${Err}`)
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
      engine.send('DELETE', `/services/${ID}`).catch(console.error)
    },
    async [Symbol.asyncDispose]() {
      if (network !== 'none') return
      // The last tasks may be on it for a moment.
      for (let tries = 0; tries < 50; tries += 1) {
        const removal = engine.send('DELETE', `/networks/${closed}`)
        if (await removal.then(() => true).catch(() => false)) return
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
    },
  }
}
