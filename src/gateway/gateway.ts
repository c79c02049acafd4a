import type { Logger } from 'pino'
import type { Envelope } from '../core/envelope.ts'
import { OneshotError } from '../core/error.ts'
import type { FunctionSpec } from '../core/function.ts'
import type { Invocation } from '../core/invocation.ts'
import type { Failure } from '../core/outcome.ts'
import type { Engine } from '../engine/engine.ts'
import type { Spool, Store } from '../store/store.ts'
import type { Acceptor } from './accept.ts'
import { createAcceptor } from './accept.ts'
import type { Admission } from './admission.ts'
import type { Catalog } from './catalog.ts'
import { createAttempts } from './attempt.ts'
import type { Deliverer, Send } from './deliver.ts'
import { createDeliverer } from './deliver.ts'
import { createHookRegistry } from './hook-registry.ts'
import type { Hooks } from './hooks.ts'
import { createHooks } from './hooks.ts'
import type { Invocations } from './invocations.ts'
import { createInvocations } from './invocations.ts'
import type { Invoker, Observer } from './invoke.ts'
import { createInvoker } from './invoke.ts'
import type { LiveCalls } from './live.ts'
import { createLiveCalls } from './live.ts'
import type { Node } from './nodes.ts'
import { listNodes } from './nodes.ts'
import { recover } from './recover.ts'
import { createWorker } from './worker.ts'

export interface GatewayDeps {
  readonly engine: Engine
  readonly store: Store
  readonly spool: Spool
  readonly admission: Admission
  readonly send: Send
  /** With each of them callbacks are signed. */
  readonly secrets: readonly Uint8Array[]
  readonly catalog: Pick<Catalog, 'get' | 'list'>
  /** The most accepted calls that may wait. */
  readonly maxQueued: number
  readonly observer: Observer
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** From 0 to 1. */
  readonly random: () => number
  /** The host that answers for a call which reached no engine. */
  readonly node: string
  readonly logger: Logger
}

/** All that can be done with calls. */
export interface Gateway {
  readonly invoker: Invoker
  readonly acceptor: Acceptor
  readonly invocations: Invocations
  readonly deliverer: Deliverer
  readonly hooks: Hooks
  readonly live: LiveCalls
  readonly engine: Envelope['engine']
  readonly findSpec: (functionName: string) => FunctionSpec | undefined
  /** Accepts the same call once more: its id. Throws `input_not_kept`, and what `accept` does. */
  replay(invocation: Invocation, callId: string, caller?: string): Promise<string>
  /** The hosts of the engine, and what runs there. Rejects with `engine_unreachable`. */
  listNodes(): Promise<readonly Node[]>
  /** Takes up what a former process had in its hands. Until then nothing may be swept. */
  start(): Promise<void>
  /** Definitions have changed. */
  wake(): void
  /**
   * Takes nothing more on. Calls whose callers wait may end within `boundMs` milliseconds, then they are stopped; the others go on without this
   * process.
   */
  close(boundMs: number): Promise<void>
}

export function createGateway(deps: GatewayDeps): Gateway {
  const { catalog, engine, store, spool, observer } = deps
  const live = createLiveCalls()
  const findSpec = (functionName: string): FunctionSpec | Failure => {
    try {
      return catalog.get(functionName)
    } catch (error) {
      if (!(error instanceof OneshotError)) throw error
      return { code: error.code, detail: error.message }
    }
  }
  const findReady = (functionName: string): FunctionSpec | undefined => {
    const found = findSpec(functionName)
    return 'container' in found ? found : undefined
  }
  const deliverer = createDeliverer({ ...deps, engine: engine.kind, findSpec: findReady })
  const attempts = createAttempts({
    ...deps,
    live,
    onSettled(invocation, delivery) {
      // The answer comes first.
      setImmediate(() => observer.settled(invocation))
      if (delivery) deliverer.added(delivery)
      // Another one of the group has its turn now.
      if (invocation.group) worker.wake()
    },
    onRequeued: () => worker.added(),
    onUnreachable: (time) => worker.pause(time),
  })
  const worker = createWorker({ ...deps, attempts, live, findSpec })
  const invoker = createInvoker({ ...deps, attempts, live })
  let closed = false
  const acceptor = createAcceptor({
    ...deps,
    worker,
    called: observer.called,
    isClosed: () => closed,
    cancel(id) {
      invocations.cancel(id).catch((error: unknown) => {
        deps.logger.error({ err: error, invocation: id }, 'a call could not be replaced')
      })
    },
  })
  const invocations = createInvocations({ store, spool, live, worker })
  const hooks = createHooks({ ...deps, registry: createHookRegistry(deps), acceptor })

  async function replay(invocation: Invocation, callId: string, caller?: string): Promise<string> {
    const { id, functionName, parameters, environment, labels, hasInput, callback } = invocation
    const { trigger, group } = invocation
    const spec = findSpec(functionName)
    if (!('container' in spec)) throw new OneshotError(spec.code, spec.detail)
    const input = hasInput ? await store.invocations.findInput(id) : undefined
    if (hasInput && !input) {
      const detail =
        'The input of a call whose caller waits is not kept: make the call again, with its body.'
      throw new OneshotError('input_not_kept', detail)
    }
    const accepted = await acceptor.accept({
      spec,
      parameters,
      environment,
      trigger,
      group,
      input: input && spool.readInput(id, input),
      callId,
      caller,
      labels,
      callbackUrl: callback?.url,
      replayOf: id,
    })
    return accepted.id
  }

  return {
    invoker,
    acceptor,
    invocations,
    deliverer,
    hooks,
    live,
    engine: engine.kind,
    findSpec: findReady,
    replay,
    listNodes: () => listNodes({ engine, store, invocations }),
    async start() {
      hooks.changed()
      await recover({ ...deps, attempts, live, findSpec })
      await worker.start()
      deliverer.start()
    },
    wake() {
      hooks.changed()
      worker.wake()
    },
    async close(boundMs) {
      closed = true
      worker.close()
      await invoker.close(boundMs)
      await deliverer.close()
    },
  }
}
