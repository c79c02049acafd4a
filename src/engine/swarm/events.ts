import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { GATEWAY_LABEL, isOurName } from '../labels.ts'
import type { Managers } from './managers.ts'

export interface EventsDeps {
  readonly managers: Managers
  readonly gatewayId: string
  /** A service of ours has been changed or removed, or a container on the manager's own node has started or ended. */
  readonly onEvent: () => void
}

interface EngineEvent {
  readonly Type: string
  readonly Actor: { readonly Attributes: Readonly<Record<string, string>> }
}

/** How soon a stream that has broken off is opened again. */
const RETRY_MS = 5_000
const NEWLINE = 10

/**
 * Listens to the manager's own engine, which hears of services at once, and of its own containers' ends before the managers do. It knows of no other
 * node's, nor of tasks: so what is heard is a reason to look, and no more. Abort to end it.
 */
export function listenToManager({ managers, gatewayId, onEvent }: EventsDeps): AbortController {
  const closing = new AbortController()
  const filters = JSON.stringify({
    type: ['container', 'service'],
    event: ['start', 'die', 'update', 'remove'],
  })
  const path = `/events?${new URLSearchParams({ filters }).toString()}`

  const isOurs = ({ Type, Actor: { Attributes } }: EngineEvent) =>
    Type === 'service'
      ? isOurName(Attributes['name'] ?? '')
      : Attributes[GATEWAY_LABEL] === gatewayId

  async function listen(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        const stream = await managers.openStream(path, closing.signal)
        for await (const event of parse(stream)) if (isOurs(event)) onEvent()
      } catch {
        // It is opened again, and nothing depends on it.
      }
      await sleep(RETRY_MS, undefined, { signal: closing.signal, ref: false }).catch(() => {})
    }
  }

  void listen()
  return closing
}

/** One JSON object a line. */
async function* parse(stream: Readable): AsyncGenerator<EngineEvent> {
  let rest = Buffer.alloc(0)
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const end = chunk.lastIndexOf(NEWLINE)
    const whole = Buffer.concat([rest, chunk.subarray(0, Math.max(end, 0))])
    rest = end < 0 ? Buffer.concat([rest, chunk]) : Buffer.from(chunk.subarray(end + 1))
    if (end < 0) continue
    for (const line of whole.toString().split('\n')) yield JSON.parse(line) as EngineEvent
  }
}
