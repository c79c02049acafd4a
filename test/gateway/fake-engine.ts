import type { TaskEnd } from '../../src/core/outcome.ts'
import type { Task, TaskIo } from '../../src/core/task.ts'
import type { Engine, TaskStop } from '../../src/engine/engine.ts'

export interface StartedTask {
  readonly task: Task
  readonly io: TaskIo
  readonly stop: TaskStop
  end(end: TaskEnd): void
  fail(error: unknown): void
}

/** An engine whose tasks end when the test says so. For order and faults; what Docker does is tested on Docker. */
export function createFakeEngine(clock: () => number): {
  engine: Engine
  next(): Promise<StartedTask>
} {
  const started: StartedTask[] = []
  const wanted: ((task: StartedTask) => void)[] = []
  const engine: Engine = {
    kind: 'container',
    run(task, io, stop) {
      const startedAt = clock()
      return new Promise((resolve, reject) => {
        const entry: StartedTask = {
          task,
          io,
          stop,
          end: (end) =>
            resolve({
              ...end,
              node: 'fake',
              start: 'cold',
              startedAt,
              finishedAt: clock(),
              timings: { runMs: 1 },
            }),
          fail: reject,
        }
        const taker = wanted.shift()
        if (taker) taker(entry)
        else started.push(entry)
      })
    },
    sweep: () => Promise.resolve(0),
    ping: () => Promise.resolve({ name: 'fake', version: '0', os: 'none', warnings: [] }),
    findImageDigest: () => Promise.resolve(undefined),
    arm: () => {},
    armed: () => [],
    findColdReason: () => undefined,
    close: () => Promise.resolve(),
  }
  return {
    engine,
    next() {
      const entry = started.shift()
      return entry ? Promise.resolve(entry) : new Promise((resolve) => wanted.push(resolve))
    },
  }
}
