import { checkDeployed, checkReferences } from '../../src/core/deploy-check.ts'
import { lowered } from '../../src/core/deploy-limits.ts'
import { parseDeployPolicy } from '../../src/core/deploy-policy.ts'
import { parseDefinition } from '../../src/core/definition/definition.ts'
import type { Trigger } from '../../src/core/trigger.ts'
import { toFunctionSpec } from '../../src/core/definition/spec.ts'
import { definitionSettings } from '../gateway/definition-settings.ts'

export const { defaults } = definitionSettings()

/** What becomes of a definition under a policy. Neither has variables. */
export function deploy(
  written: object,
  policyFile: object = {},
  triggers: readonly Trigger[] = [],
) {
  const surroundings = { defaults, secretsFolder: '/run/secrets' }
  const { policy, problems: wrong } = parseDeployPolicy(policyFile, surroundings)
  if (!policy) throw new Error(JSON.stringify(wrong))
  const value = { image: 'busybox:stable', ...written }
  const { triggers: _, ...own } = value as Record<string, unknown>
  const { definition, problems: mistakes } = parseDefinition(own)
  if (!definition) throw new Error(JSON.stringify(mistakes))
  const foreign = checkReferences({ definition, value, unset: new Map() }, policy)
  const converted = toFunctionSpec('test', definition, {
    defaults: lowered(defaults, policy.limits),
    folder: '/functions',
    home: '/',
    environment: {},
    envFile: {},
    secrets: new Map(),
  })
  if (!converted.spec) throw new Error(JSON.stringify(converted.problems))
  const engine = { sockets: ['/var/run/docker.sock'], folders: [] }
  const { spec, problems } = checkDeployed(
    { ...converted.spec, triggers },
    definition,
    policy,
    engine,
  )
  return { spec, problems: [...foreign, ...problems] }
}
