import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { onTestFinished } from 'vitest'
import { defaultDeployPolicy } from '../../src/core/deploy-policy.ts'
import { createCatalog } from '../../src/gateway/catalog.ts'
import { createDeployed } from '../../src/gateway/deployed.ts'
import { openSqliteStore } from '../../src/store/sqlite.ts'
import { definitionSettings } from '../gateway/definition-settings.ts'

/** A folder of definitions, and functions that can be deployed beside them. */
export async function openFunctions(
  files: Readonly<Record<string, string>>,
  environment: Readonly<Record<string, string>> = {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-functions-'))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const store = await openSqliteStore({ folder: join(folder, 'data'), newId: () => 'a-gateway' })
  const settings = definitionSettings({ environment })
  const deployed = createDeployed({
    store: store.functions,
    policy: defaultDeployPolicy({ defaults: settings.defaults, secretsFolder: '/run/secrets' }),
    clock: () => Date.UTC(2026, 0, 2),
    logger: pino({ level: 'silent' }),
  })
  const catalog = createCatalog({ folder, settings, deployed, rescanMs: 3_600_000 })
  await catalog.start()
  onTestFinished(async () => {
    await catalog.close()
    await store.close()
    await rm(folder, { recursive: true })
  })
  return { catalog, deployed }
}
