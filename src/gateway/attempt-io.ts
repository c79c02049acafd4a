import type { Invocation } from '../core/invocation.ts'
import type { Sink, TaskIo } from '../core/task.ts'
import type { Recorder } from '../store/store.ts'
import type { LiveCalls } from './live.ts'

export interface AttemptIo {
  readonly stdin: AsyncIterable<Uint8Array> | undefined
  /** Where output goes besides its record. */
  readonly answer?: { readonly stdout: Sink; readonly stderr: Sink; started?(): void }
}

/** The record copies at once; the answer may hold the next chunk back. */
export function tee(stream: 'stdout' | 'stderr', recorder: Recorder, answer?: Sink): Sink {
  return (chunk) => {
    const recording = recorder.write(stream, chunk)
    const answering = answer?.(chunk)
    return recording && answering ? both(recording, answering) : (recording ?? answering)
  }
}

/** The same, told of by `onFailure` if it can't be read to its end. */
export async function* telling(
  stdin: AsyncIterable<Uint8Array>,
  onFailure: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* stdin
  } catch (error) {
    onFailure(error)
    throw error
  }
}

/** What the engine says of an attempt while it has it, put where it is looked up. */
export function reporting(
  { id, attempts }: Invocation,
  live: LiveCalls,
  clock: () => number,
  answer?: AttemptIo['answer'],
): Required<Pick<TaskIo, 'progress' | 'started'>> {
  return {
    progress: (progress) => live.progressed(id, attempts.length, progress),
    started() {
      live.started(id, attempts.length, clock())
      answer?.started?.()
    },
  }
}

async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  await Promise.all([first, second])
}
