import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import type { FunctionSpec } from '../../src/core/function.ts'
import { createAdmission } from '../../src/gateway/admission.ts'
import type { GatewayDeps } from '../../src/gateway/gateway.ts'
import { createGateway } from '../../src/gateway/gateway.ts'
import { createSpool } from '../../src/store/spool.ts'
import { openSqliteStore } from '../../src/store/sqlite.ts'
import { functionSpec } from '../function-spec.ts'
import { createFakeEngine } from './fake-engine.ts'

interface Options extends Partial<Omit<GatewayDeps, 'engine' | 'store' | 'spool'>> {
  readonly concurrency?: number
  readonly queueLength?: number
  readonly specs?: readonly FunctionSpec[]
  /** Names of functions whose definitions can't be used. */
  readonly broken?: readonly string[]
  /** Of a gateway before this one. */
  readonly folder?: string
}

/** A gateway on a real store, with an engine whose tasks end when the test says so. */
export async function startGateway({
  concurrency = 10,
  queueLength = 10,
  specs = [functionSpec()],
  broken = [],
  folder,
  ...overrides
}: Options = {}) {
  const clock = overrides.clock ?? Date.now
  const fake = createFakeEngine(clock)
  const admission = createAdmission({ concurrency, queueLength })
  const data = folder ?? (await mkdtemp(join(tmpdir(), 'oneshot-gateway-')))
  let count = 0
  const newId = () => `${folder === undefined ? 'id' : 'later'}-${(count += 1)}`
  const store = await openSqliteStore({ folder: data, newId: () => 'the-gateway' })
  let isStopped = false
  const untilStopped = <T extends object>(part: T): T =>
    new Proxy(part, {
      get: (target, key) =>
        isStopped ? () => new Promise(() => {}) : (Reflect.get(target, key) as unknown),
    })
  const spool = createSpool({ folder: data, clock })
  const known = new Map(specs.map((spec) => [spec.name, spec]))
  const catalog = {
    list: () =>
      Array.from(known.values(), (spec) => ({
        name: spec.name,
        origin: 'file' as const,
        file: `${spec.name}.yml`,
        state: 'ready' as const,
        spec,
        source: {},
        warnings: [],
      })),
    get(name: string) {
      if (broken.includes(name)) throw new OneshotError('function_broken', 'no')
      const spec = known.get(name)
      if (spec) return spec
      throw new OneshotError('function_not_found', `There is no function ${name}.`)
    },
  }
  const gateway = createGateway({
    engine: fake.engine,
    store: {
      ...store,
      invocations: untilStopped(store.invocations),
      deliveries: untilStopped(store.deliveries),
    },
    spool,
    admission,
    catalog,
    send: () => Promise.reject(new Error('no callback was expected')),
    secrets: [new Uint8Array(24)],
    maxQueued: 1000,
    observer: { called: () => {}, settled: () => {}, refused: () => {} },
    newId,
    clock,
    random: () => 0.5,
    node: 'here',
    logger: pino({ level: 'silent' }),
    ...overrides,
  })
  /** Ends this gateway as a crash would: what becomes of its calls from now on never comes to the store. */
  const stop = async () => {
    if (isStopped) return
    isStopped = true
    void gateway.close(0)
    await store.close()
  }
  onTestFinished(async () => {
    await stop()
    if (folder === undefined) await rm(data, { recursive: true, force: true })
  })
  return {
    ...gateway,
    ...fake,
    gateway,
    admission,
    store,
    spool,
    catalog,
    folder: data,
    stop,
    newId,
  }
}
