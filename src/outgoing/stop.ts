import { SendError } from './failure.ts'

/** One signal for all that ends a request early. Its reason is a SendError: the first one. */
export interface Stop extends Disposable {
  readonly signal: AbortSignal
  /** From now on. */
  after(timeoutMs: number): void
}

/** Listens until it is disposed. Not AbortSignal.any: that keeps memory as long as the signals that it is given live. */
export function createStop(signals: readonly (AbortSignal | undefined)[]): Stop {
  const stop = new AbortController()
  const stack = new DisposableStack()
  const cancel = () => stop.abort(new SendError('cancelled'))
  for (const signal of signals) {
    if (signal?.aborted) cancel()
    signal?.addEventListener('abort', cancel)
    stack.defer(() => signal?.removeEventListener('abort', cancel))
  }
  return {
    signal: stop.signal,
    after: (timeoutMs) => {
      const error = new SendError(`timed out after ${timeoutMs / 1000} s`)
      const timer = setTimeout(() => stop.abort(error), timeoutMs)
      stack.defer(() => clearTimeout(timer))
    },
    [Symbol.dispose]: () => stack.dispose(),
  }
}
