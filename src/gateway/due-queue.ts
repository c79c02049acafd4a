export interface Due {
  /** Milliseconds since the epoch; does not change while it is in a queue. */
  readonly dueAt: number
}

/** Finds what is due first without looking at the rest: a binary heap. */
export interface DueQueue<T extends Due> {
  add(item: T): void
  /** What is due first stays in. */
  first(): T | undefined
  take(): T | undefined
}

export function createDueQueue<T extends Due>(): DueQueue<T> {
  const heap: T[] = []
  const isBefore = (a: T | undefined, b: T | undefined) =>
    a !== undefined && b !== undefined && a.dueAt < b.dueAt

  /** Puts `item` at `place`, or as far up as it belongs. */
  function rise(item: T, place: number): void {
    for (let at = place; ;) {
      const parent = (at - 1) >> 1
      if (at === 0 || !isBefore(item, heap[parent])) {
        heap[at] = item
        return
      }
      heap[at] = heap[parent]!
      at = parent
    }
  }

  /** Puts `item` at the top, or as far down as it belongs. */
  function sink(item: T): void {
    for (let at = 0; ;) {
      const left = 2 * at + 1
      const child = isBefore(heap[left + 1], heap[left]) ? left + 1 : left
      if (!isBefore(heap[child], item)) {
        heap[at] = item
        return
      }
      heap[at] = heap[child]!
      at = child
    }
  }

  return {
    add: (item) => rise(item, heap.length),
    first: () => heap[0],
    take() {
      const [first] = heap
      const last = heap.pop()
      if (last !== undefined && heap.length > 0) sink(last)
      return first
    },
  }
}
