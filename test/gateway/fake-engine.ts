import type { TaskEnd, TaskResult } from '../../src/core/outcome.ts'
import type { Task, TaskHandle, TaskIo } from '../../src/core/task.ts'
import type { Engine, EngineNode, ResumeIo, TaskStop } from '../../src/engine/engine.ts'

export interface StartedTask {
  readonly task: Task
  readonly io: TaskIo
  readonly stop: TaskStop
  end(end: TaskEnd): void
  fail(error: unknown): void
}

export interface ResumedTask {
  readonly task: Task
  readonly handle: TaskHandle
  readonly io: ResumeIo
  readonly stop: TaskStop
  end(end: TaskEnd | 'never_ran'): void
  fail(error: unknown): void
}

/** An engine whose tasks end when the test says so. For order and faults; what Docker does is tested on Docker. */
export function createFakeEngine(clock: () => number): {
  engine: Engine
  /** The next one run, once it is placed. */
  next(): Promise<StartedTask>
  nextResumed(): Promise<ResumedTask>
  /** Those that were let go of, in order. */
  readonly abandoned: readonly TaskHandle[]
  /** The hosts that it tells of. */
  readonly nodes: EngineNode[]
} {
  const started = createQueue<StartedTask>()
  const resumed = createQueue<ResumedTask>()
  const abandoned: TaskHandle[] = []
  const nodes: EngineNode[] = []
  const toResult = (end: TaskEnd, startedAt: number): TaskResult => ({
    ...end,
    node: 'fake',
    start: 'cold',
    startedAt,
    finishedAt: clock(),
    timings: { runMs: 1 },
  })
  const engine: Engine = {
    kind: 'container',
    async run(task, io, stop) {
      const startedAt = clock()
      const name = `oneshot-${task.invocationId}`
      if (io.placed) await io.placed({ name, nonce: 'fake', start: 'cold', placedAt: startedAt })
      return new Promise((resolve, reject) => {
        const end = (how: TaskEnd) => resolve(toResult(how, startedAt))
        started.put({ task, io, stop, end, fail: reject })
      })
    },
    resume(task, handle, io, stop) {
      return new Promise((resolve, reject) => {
        const end = (how: TaskEnd | 'never_ran') =>
          resolve(how === 'never_ran' ? how : toResult(how, handle.placedAt))
        resumed.put({ task, handle, io, stop, end, fail: reject })
      })
    },
    abandon(handle) {
      abandoned.push(handle)
      return Promise.resolve(undefined)
    },
    sweep: () => Promise.resolve(0),
    ping: () => Promise.resolve({ name: 'fake', version: '0', os: 'none', warnings: [] }),
    nodes: () => Promise.resolve(nodes),
    findImageDigest: () => Promise.resolve(undefined),
    arm: () => {},
    armed: () => [],
    findColdReason: () => undefined,
    close: () => Promise.resolve(),
  }
  return { engine, next: started.take, nextResumed: resumed.take, abandoned, nodes }
}

function createQueue<T>() {
  const entries: T[] = []
  const wanted: ((entry: T) => void)[] = []
  return {
    put(entry: T): void {
      const taker = wanted.shift()
      if (taker) taker(entry)
      else entries.push(entry)
    },
    take(): Promise<T> {
      const entry = entries.shift()
      return entry === undefined
        ? new Promise((resolve) => wanted.push(resolve))
        : Promise.resolve(entry)
    },
  }
}
