import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { OneshotError } from '../../core/error.ts'
import type { EngineInfo } from '../engine.ts'
import type { Info } from '../info.ts'
import { readInfo, toEngineInfo } from '../info.ts'
import type { SpoolVolume } from './input.ts'
import type { Managers } from './managers.ts'
import { toManagerError } from './managers.ts'

/** How long the managers may take to tell of their swarm. */
const PATIENCE_MS = 4_000

/** Of the manager that answers. Rejects with `engine_unreachable`: also where there is a node, but no swarm that could run anything. */
export async function readManagerInfo(
  managers: Managers,
  spool: SpoolVolume | undefined,
): Promise<EngineInfo> {
  // Only a manager with a leader answers this. `GET /swarm` would bring the tokens along by which anybody may join.
  const question = { method: 'GET', path: '/nodes', withinMs: PATIENCE_MS, rideOutMs: 0 } as const
  await managers.ask(question).catch((error: unknown) => {
    throw toManagerError(error)
  })
  const info = await readInfo(managers.current())
  await checkSpool(spool)
  const engine = toEngineInfo(info)
  return { ...engine, warnings: [...engine.warnings, ...toWarnings(info)] }
}

async function checkSpool(spool: SpoolVolume | undefined): Promise<void> {
  await (spool && access(spool.folder, constants.W_OK))?.catch((error: unknown) => {
    const detail = `ONESHOT_SPOOL_PATH (${spool.folder}) can't be written to: mount the volume "${spool.name}" there.`
    throw new OneshotError('engine_failed', detail, { cause: error })
  })
}

function toWarnings({ ServerVersion: version, Swarm }: Info): string[] {
  const warnings: string[] = []
  if (Number.parseInt(version) < FIRST_WITH_PRIVILEGES) {
    warnings.push(
      `Docker ${version} can't set no-new-privileges for tasks of a swarm: those may gain some.`,
    )
  }
  const kept = Swarm?.Cluster?.Spec?.Orchestration?.TaskHistoryRetentionLimit ?? LEAST_HISTORY
  if (kept < LEAST_HISTORY) {
    warnings.push(
      `The swarm keeps ${kept} old tasks of a service: how a stopped call ended may be lost with its task. Set at least ${LEAST_HISTORY}: docker swarm update --task-history-limit 5.`,
    )
  }
  return warnings
}

/** A stop has another task take the place of the one that ran. */
const LEAST_HISTORY = 2
const FIRST_WITH_PRIVILEGES = 25
