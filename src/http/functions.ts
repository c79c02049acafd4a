import type { OpenAPIHono } from '@hono/zod-openapi'
import type { z } from '@hono/zod-openapi'
import type { FunctionSpec } from '../core/function.ts'
import type { Catalog } from '../gateway/catalog.ts'
import type { CatalogEntry } from '../gateway/catalog-entry.ts'
import { showProblem } from '../gateway/definition.ts'
import type { Env } from './app.ts'
import type { DeployRouteDeps } from './deploy.ts'
import { mountDeploy } from './deploy.ts'
import { toTime } from './invocations.ts'
import { refuseOtherMethods } from './methods.ts'
import type { FunctionDetail, FunctionSummary } from './openapi.ts'
import { getFunction, listFunctions } from './openapi.ts'

export interface FunctionsRouteDeps extends DeployRouteDeps {
  readonly catalog: Catalog
  readonly findColdReason: (spec: FunctionSpec) => string | undefined
  readonly findImageDigest: (image: string) => Promise<string | undefined>
}

/** `GET /functions` and all that `/functions/NAME` takes. */
export function mountFunctions(app: OpenAPIHono<Env>, deps: FunctionsRouteDeps) {
  const { catalog, findColdReason, findImageDigest } = deps
  app.openapi(listFunctions, (c) => c.json({ functions: catalog.list().map(toSummary) }, 200))

  app.openapi(getFunction, async (c) => {
    const entry = catalog.getEntry(c.req.valid('param').name)
    if (entry.origin === 'api') c.header('ETag', entry.etag)
    return c.json(await toDetail(entry), 200)
  })
  mountDeploy(app, deps, toDetail)
  refuseOtherMethods(app, '/functions', 'GET, HEAD')
  refuseOtherMethods(app, '/functions/:name', 'GET, HEAD, PUT, DELETE')

  async function toDetail(entry: CatalogEntry): Promise<z.infer<typeof FunctionDetail>> {
    const common = {
      ...toSummary(entry),
      ...(entry.origin === 'file' && { file: entry.file }),
      warnings: [...entry.warnings],
    }
    if (entry.state === 'broken') return common
    const cold = entry.spec.warm.max === 0 ? 'warm is 0' : findColdReason(entry.spec)
    const imageDigest = await findImageDigest(entry.spec.container.image)
    return {
      ...common,
      ...(imageDigest !== undefined && { imageDigest }),
      ...(cold !== undefined && { cold }),
      definition: { ...entry.source },
    }
  }
}

function toSummary(entry: CatalogEntry): z.infer<typeof FunctionSummary> {
  const { name, state, origin } = entry
  const common = {
    name,
    state,
    origin,
    ...(origin === 'api' && { updatedAt: toTime(entry.updatedAt), updatedBy: entry.updatedBy }),
  }
  if (state === 'broken') return { ...common, problems: entry.problems.map(showProblem) }
  const { description, container } = entry.spec
  return {
    ...common,
    ...(description !== undefined && { description }),
    image: container.image,
  }
}
