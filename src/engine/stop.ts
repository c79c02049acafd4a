import type { TaskStop } from './engine.ts'

/** The stop came before the step at hand was done. */
export class Stopped extends Error {}

/** Rejects with `Stopped` as soon as the stop comes; what `promise` then brings is dropped. */
export async function unlessStopped<T>(promise: Promise<T>, stop: TaskStop): Promise<T> {
  const stopped = whenStopped(stop)
  promise.catch(() => {})
  try {
    return await Promise.race([
      promise,
      stopped.promise.then(() => {
        throw new Stopped()
      }),
    ])
  } finally {
    stopped.dispose()
  }
}

/** Fulfilled when the stop comes. `dispose` it, or the signal keeps it. */
export function whenStopped(stop: AbortSignal): { promise: Promise<undefined>; dispose(): void } {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const onAbort = () => resolve(undefined)
  if (stop.aborted) onAbort()
  else stop.addEventListener('abort', onAbort, { once: true })
  return { promise, dispose: () => stop.removeEventListener('abort', onAbort) }
}

/** What `promise` brings, or undefined once `ms` milliseconds have gone by. */
export async function withinMs<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(resolve, ms, undefined)
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
