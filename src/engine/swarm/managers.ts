import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type Docker from 'dockerode'
import { OneshotError } from '../../core/error.ts'
import type { EngineRequest } from '../docker.ts'
import {
  ask as askOne,
  findStatus,
  isStatus,
  openStream,
  toEngineError,
  toMessage,
} from '../docker.ts'

/** The swarm's managers, of which any speaks for all: a request goes to the one that answered last. */
export interface Managers {
  /**
   * A manager's answer, as JSON. What fails for want of a manager or of their leader is asked again, also of the others,
   * for `rideOutMs`: it may then have been done more than once. Rejects with the answer's `statusCode` and `json` if it is a refusal of the request's own, else with `engine_unreachable`.
   */
  ask(request: ManagerRequest): Promise<unknown>
  /** Likewise, of an answer's beginning, which is waited for within so many milliseconds, or for ever. `over` breaks the answer off. */
  openStream(path: string, over: AbortSignal, withinMs?: number): Promise<Readable>
  /** The engine of the manager that answered last. */
  current(): Docker
  /** Of all. */
  readonly engines: readonly Docker[]
}

export interface ManagerRequest extends EngineRequest {
  /** In milliseconds; 0: each manager is asked once. */
  readonly rideOutMs?: number
  /** From then on it is not asked again. */
  readonly over?: AbortSignal
}

/** How long the managers may be without a leader: an election takes some 10 s, and up to 30 s after a partition. */
const RIDE_OUT_MS = 45_000
const PAUSE_MS = { first: 100, most: 2_000 }
/** Where there is another manager to ask, one that does not answer is given up after so long: what was asked of a leader that died hangs for 20 s. */
const TURN_MS = 5_000
const ANSWER_MS = 60_000

export function createManagers(engines: readonly Docker[]): Managers {
  let preferred = 0

  const current = () => engines[preferred]!

  async function riding<T>(
    act: (docker: Docker) => Promise<T>,
    rideOutMs: number,
    over?: AbortSignal,
  ): Promise<T> {
    const giveUpAt = performance.now() + rideOutMs
    let pauseMs = PAUSE_MS.first
    for (;;) {
      let isPassing = false
      let failure: unknown
      let mostTold = 0
      const first = preferred
      for (let turn = 0; turn < engines.length; turn += 1) {
        // Others may find it gone as well, and must not make each other skip one.
        const asked = (first + turn) % engines.length
        try {
          const answer = await act(engines[asked]!)
          preferred = asked
          return answer
        } catch (error) {
          if (over?.aborted) throw error
          const trouble = findTrouble(error)
          if (trouble === undefined) {
            preferred = asked
            throw error
          }
          if (trouble === 'passing') isPassing = true
          // A manager's word tells most, and least that another is not there.
          const told = findStatus(error) === undefined ? 0 : trouble === 'passing' ? 2 : 1
          if (told >= mostTold) failure = error
          mostTold = Math.max(mostTold, told)
        }
      }
      if (!isPassing || performance.now() + pauseMs > giveUpAt) throw toManagerError(failure)
      await sleep(pauseMs, undefined, over ? { signal: over } : {})
      pauseMs = Math.min(2 * pauseMs, PAUSE_MS.most)
    }
  }

  return {
    engines,
    current,
    ask({ rideOutMs = RIDE_OUT_MS, withinMs = ANSWER_MS, over, ...request }) {
      const turnMs = engines.length > 1 ? Math.min(withinMs, TURN_MS) : withinMs
      return riding((docker) => askOne(docker, { ...request, withinMs: turnMs }), rideOutMs, over)
    },
    openStream: (path, over, withinMs) =>
      riding((docker) => openWithin(docker, path, over, withinMs), RIDE_OUT_MS, over),
  }
}

/** A manager that hangs must not keep its caller, who may have nobody to end it. */
async function openWithin(
  docker: Docker,
  path: string,
  over: AbortSignal,
  ms: number | undefined,
): Promise<Readable> {
  if (ms === undefined) return openStream(docker, path, over)
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), ms)
  try {
    return await openStream(docker, path, AbortSignal.any([over, late.signal]))
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Whether an answer, or none, says nothing of the request itself: `passing` with time, or `settled` until somebody
 * repairs it. Undefined: it does say something.
 *
 * https://github.com/moby/moby/blob/v20.10.24/daemon/cluster/cluster.go#L340 has the messages of one that is no manager.
 */
function findTrouble(error: unknown): 'passing' | 'settled' | undefined {
  const status = findStatus(error)
  if (status === undefined) return error instanceof OneshotError ? undefined : 'passing'
  const message = toMessage(error)
  if (NO_MANAGER.test(message) && !PREPARING.test(message)) return 'settled'
  return isStatus(error, 503) || (status >= 500 && NO_LEADER.test(message)) ? 'passing' : undefined
}

const NO_MANAGER =
  /not a swarm manager|swarm is encrypted and needs to be unlocked|certificates have expired/i
const PREPARING = /being prepared or has trouble connecting/i
const NO_LEADER =
  /does not have a leader|code = (Unavailable|DeadlineExceeded|Aborted)|context deadline exceeded|raft: |lost leadership|not the leader/i

/** In our words, with what is to be done. */
export function toManagerError(error: unknown): OneshotError {
  const status = findStatus(error)
  if (status === undefined || error instanceof OneshotError) return toEngineError(error)
  const message = toMessage(error)
  const unreachable = (detail: string) =>
    new OneshotError('engine_unreachable', detail, { cause: error, retryAfterSeconds: 5 })
  if (/needs to be unlocked/i.test(message)) {
    return unreachable('The swarm is locked: unlock this manager with docker swarm unlock.')
  }
  if (/certificates have expired/i.test(message)) {
    return unreachable(
      "The swarm's certificates have expired on this manager: have it leave and join again.",
    )
  }
  if (NO_MANAGER.test(message) && !PREPARING.test(message)) {
    return unreachable(
      'The engine is no swarm manager: have DOCKER_HOST name managers, or make it one with docker swarm init, or docker node promote.',
    )
  }
  if (/does not have a leader/i.test(message)) {
    return unreachable(
      'The swarm has no leader: more than half of its managers must be up (docker node ls).',
    )
  }
  return findTrouble(error) === 'passing'
    ? unreachable(`The swarm's managers do not answer as they should: ${message}`)
    : toEngineError(error)
}
