/** Draws by chance, yet the same from the same seed. */
export interface Draw {
  /** From `min` to `max`, both included. */
  int(min: number, max: number): number
  /** True once in so many times. */
  once(inTimes: number): boolean
  pick<T>(items: readonly T[]): T
  bytes(length: number): Buffer
}

export function createDraw(seed: number): Draw {
  let state = seed | 0

  /** Mulberry32: 32 bits of state, each value of it once. */
  function next(): number {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  const int = (min: number, max: number) => min + (next() % (max - min + 1))
  return {
    int,
    once: (inTimes) => int(1, inTimes) === 1,
    pick: (items) => items[int(0, items.length - 1)]!,
    bytes(length) {
      const words = Buffer.alloc(Math.ceil(length / 4) * 4)
      for (let at = 0; at < words.length; at += 4) words.writeUInt32LE(next(), at)
      return words.subarray(0, length)
    },
  }
}
