import { isLoopback } from '../core/address.ts'
import { AccessProblem } from './problem.ts'

export interface Exposure {
  /** Where the gateway listens. */
  readonly host: string
  /** The operator has said that nobody need say who he is. */
  readonly isInsecure: boolean
}

/** What the operator is to be warned of. Throws `AccessProblem` if anyone could do everything without his having said so. */
export function checkExposure({ host, isInsecure }: Exposure, isOpen: boolean): string | undefined {
  if (!isOpen || isLoopback(host)) return undefined
  if (isInsecure) {
    return `ONESHOT_INSECURE: there are no keys, and whoever reaches ${host} may call every function and change everything`
  }
  throw new AccessProblem(
    `ONESHOT_HOST=${host} is no loopback address, and there are no keys: anyone could call. Set ONESHOT_API_KEYS_FILE (scripts/api-key makes keys) or one of ONESHOT_JWT_…, or listen on 127.0.0.1, or set ONESHOT_INSECURE=true if nobody else can reach it`,
  )
}
