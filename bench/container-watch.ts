import { EventEmitter, once } from 'node:events'
import { createInterface } from 'node:readline'
import type { EngineClient } from './engine-client.ts'

/** The engine's reports on the containers of one label. */
export interface ContainerWatch extends AsyncDisposable {
  /** The next container that is created. */
  created(): Promise<string>
  /** Waits until `more` are gone than were waited for before. Rejects if that takes too long. */
  removed(more: number): Promise<void>
}

const REMOVAL_MS = 60_000

/** Watches the containers that carry `label`, and at its end removes those that are left. `stop` ends any waiting. */
export async function watchContainers(
  engine: EngineClient,
  label: string,
  stop: AbortSignal,
): Promise<ContainerWatch> {
  const over = new AbortController()
  const filters = toQuery({ type: ['container'], event: ['create', 'destroy'], label: [label] })
  const stream = await engine.stream(`/events?filters=${filters}`, over.signal)
  const reports = new EventEmitter()
  const count = { removed: 0, awaited: 0 }
  const follow = async () => {
    for await (const line of createInterface(stream)) {
      const { Action, id } = JSON.parse(line) as { Action: string; id: string }
      if (Action === 'destroy') count.removed += 1
      reports.emit(Action, id)
    }
  }
  // It ends when we do; should it break off before, the next removal is waited for in vain.
  follow().catch(() => {})
  return {
    async created() {
      const [id] = (await once(reports, 'create')) as [string]
      return id
    },
    async removed(more) {
      count.awaited += more
      stop.throwIfAborted()
      const signal = AbortSignal.any([stop, AbortSignal.timeout(REMOVAL_MS)])
      while (count.removed < count.awaited) await once(reports, 'destroy', { signal })
    },
    async [Symbol.asyncDispose]() {
      over.abort()
      const all = `/containers/json?all=1&filters=${toQuery({ label: [label] })}`
      const left = await engine.send<{ Id: string }[]>('GET', all)
      // Some may be on their way out already.
      await Promise.allSettled(
        left.map(({ Id }) => engine.send('DELETE', `/containers/${Id}?force=1&v=1`)),
      )
    },
  }
}

function toQuery(filters: Readonly<Record<string, readonly string[]>>): string {
  return encodeURIComponent(JSON.stringify(filters))
}
