import Docker from 'dockerode'
import { inject } from 'vitest'

const docker = new Docker()

/** The containers, running or not, that any gateway has made since the tests began, of one function or all. */
export async function findContainers(functionName?: string): Promise<Docker.ContainerInfo[]> {
  const label = functionName === undefined ? 'oneshot.gateway' : `oneshot.function=${functionName}`
  const containers = await docker.listContainers({ all: true, filters: { label: [label] } })
  const leftovers = inject('leftovers')
  return containers.filter(({ Id }) => !leftovers.includes(Id))
}

/** Asks again until `done` says so; rejects after `ms`. For what the engine tells by no event of ours. */
export async function eventually<T>(
  ask: () => Promise<T>,
  done: (value: T) => boolean,
  ms = 20_000,
): Promise<T> {
  const giveUpAt = Date.now() + ms
  for (;;) {
    const value = await ask()
    if (done(value)) return value
    if (Date.now() > giveUpAt) throw new Error(`still ${JSON.stringify(value)} after ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export const noContainers = (functionName?: string) =>
  eventually(
    () => findContainers(functionName),
    (containers) => containers.length === 0,
  )
