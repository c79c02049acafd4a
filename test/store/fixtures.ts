import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { v7 as newId } from 'uuid'
import { onTestFinished } from 'vitest'
import type { Delivery } from '../../src/core/callback.ts'
import type { Invocation, NewInvocation, Settled } from '../../src/core/invocation.ts'
import { queued, running, settled } from '../../src/core/invocation.ts'
import { openSqliteStore } from '../../src/store/sqlite.ts'
import type { Store, StoredOutput } from '../../src/store/store.ts'

export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-store-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** In a folder of its own, or in one that is there. */
export async function openStore(folder?: string): Promise<Store> {
  const store = await openSqliteStore({ folder: folder ?? (await makeFolder()), newId })
  onTestFinished(() => store.close())
  return store
}

export function newInvocation(given: Partial<NewInvocation> = {}, now = 1000): Invocation {
  const id = newId()
  return queued({ id, functionName: 'echo', mode: 'async', callId: id, ...given }, now)
}

export function end(invocation: Invocation, finishedAt = 2000, exitCode = 0): Settled {
  return settled(running(invocation, finishedAt - 1), {
    kind: 'exited',
    exitCode,
    oomKilled: false,
    node: 'here',
    start: 'armed',
    startedAt: finishedAt - 1,
    finishedAt,
    timings: { runMs: 1 },
  })
}

export const output: StoredOutput = {
  frames: new Uint8Array([1, 2, 3]),
  stdoutBytes: 2,
  stderrBytes: 1,
  truncated: false,
}

export function newDelivery({ id, functionName }: Invocation, dueAt = 2000): Delivery {
  return {
    id: newId(),
    invocationId: id,
    functionName,
    callback: { url: 'http://receiver.test/', format: 'envelope' },
    state: 'pending',
    createdAt: 2000,
    dueAt,
    tries: 0,
    attempts: [],
  }
}

/** Adds it and brings it to its end. */
export async function addSettled(
  { invocations }: Store,
  invocation: Invocation,
  finishedAt?: number,
  delivery?: Delivery,
): Promise<Settled> {
  await invocations.add(invocation)
  const ended = end(invocation, finishedAt)
  await invocations.settle(ended, output, delivery)
  return ended
}

export const ids = (those: readonly { readonly id: string }[]) => those.map(({ id }) => id)
