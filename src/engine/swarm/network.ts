import { setTimeout as sleep } from 'node:timers/promises'
import { isStatus } from '../docker.ts'
import { toLabels } from '../labels.ts'
import type { Managers } from './managers.ts'

export interface ClosedNetworkDeps {
  readonly managers: Managers
  readonly gatewayId: string
  /** A CIDR; undefined: the managers choose one, of 254 tasks or so. */
  readonly subnet: string | undefined
}

/** Stands in for `network_mode: none`, which services can't have: without a way out, made once. */
export interface ClosedNetwork {
  /** Its name. */
  get(): Promise<string>
  /** It may be gone: the next `get` makes it anew if so. */
  forget(): void
  /** Removes it, unless something is on it and stays there. */
  remove(): Promise<void>
}

/** A task that has ended is on it for a moment more. */
const RETRY_MS = [100, 200, 400, 800, 1_600, 3_200]

export function createClosedNetwork({
  managers,
  gatewayId,
  subnet,
}: ClosedNetworkDeps): ClosedNetwork {
  const name = `oneshot-none-${gatewayId}`
  let creating: Promise<void> | undefined

  async function create(): Promise<void> {
    const body = {
      Name: name,
      CheckDuplicate: true,
      Driver: 'overlay',
      Internal: true,
      Labels: toLabels({ gatewayId }),
      ...(subnet !== undefined && { IPAM: { Config: [{ Subnet: subnet }] } }),
    }
    try {
      await managers.ask({ method: 'POST', path: '/networks/create', body })
    } catch (error) {
      if (!isStatus(error, 409)) throw error
    }
  }

  return {
    async get() {
      creating ??= create()
      try {
        await creating
      } catch (error) {
        creating = undefined
        throw error
      }
      return name
    },
    forget() {
      creating = undefined
    },
    async remove() {
      creating = undefined
      for (const ms of RETRY_MS) {
        const path = `/networks/${name}`
        const failure: unknown = await managers.ask({ method: 'DELETE', path, rideOutMs: 0 }).then(
          () => undefined,
          (error: unknown) => error,
        )
        if (failure === undefined || isStatus(failure, 404)) return
        await sleep(ms)
      }
    },
  }
}
