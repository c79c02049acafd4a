/** Takes a slot of a key, waiting for it if need be, and gives the function that returns it. Rejects with the signal's reason. */
export type TakeSlot = (key: string, signal: AbortSignal) => Promise<() => void>

interface Line {
  taken: number
  readonly waiting: Set<() => void>
}

/** As many slots for each key; who waits longest is next. */
export function createSlots(perKey: number): TakeSlot {
  const lines = new Map<string, Line>()

  function release(key: string, line: Line): void {
    const [next] = line.waiting
    if (next !== undefined) return next()
    line.taken -= 1
    if (line.taken === 0) lines.delete(key)
  }

  return async (key, signal) => {
    signal.throwIfAborted()
    const line = lines.get(key) ?? { taken: 0, waiting: new Set() }
    lines.set(key, line)
    if (line.taken < perKey) line.taken += 1
    else await queue(line, signal)
    return () => release(key, line)
  }
}

/** Whoever returns a slot hands it on: `taken` stays. */
function queue({ waiting }: Line, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const take = () => {
      waiting.delete(take)
      signal.removeEventListener('abort', leave)
      resolve()
    }
    const leave = () => {
      waiting.delete(take)
      reject(signal.reason as Error)
    }
    waiting.add(take)
    signal.addEventListener('abort', leave, { once: true })
  })
}
