import type { OpenAPIHono } from '@hono/zod-openapi'
import type { z } from '@hono/zod-openapi'
import type { FunctionSpec } from '../core/function.ts'
import type { Catalog, CatalogEntry } from '../gateway/catalog.ts'
import { showProblem } from '../gateway/definition.ts'
import type { Env } from './app.ts'
import type { FunctionDetail, FunctionSummary } from './openapi.ts'
import { getFunction, listFunctions } from './openapi.ts'

export interface FunctionsRouteDeps {
  readonly catalog: Catalog
  readonly findColdReason: (spec: FunctionSpec) => string | undefined
  readonly findImageDigest: (image: string) => Promise<string | undefined>
}

/** `GET /functions` and `GET /functions/NAME`. */
export function mountFunctions(
  app: OpenAPIHono<Env>,
  { catalog, findColdReason, findImageDigest }: FunctionsRouteDeps,
) {
  app.openapi(listFunctions, (c) => c.json({ functions: catalog.list().map(toSummary) }, 200))

  app.openapi(getFunction, async (c) => {
    const entry = catalog.getEntry(c.req.valid('param').name)
    return c.json(await toDetail(entry), 200)
  })

  async function toDetail(entry: CatalogEntry): Promise<z.infer<typeof FunctionDetail>> {
    const summary = toSummary(entry)
    if (entry.state === 'broken') return { ...summary, file: entry.file, warnings: [] }
    const cold = entry.spec.warm.max === 0 ? 'warm is 0' : findColdReason(entry.spec)
    const imageDigest = await findImageDigest(entry.spec.container.image)
    return {
      ...summary,
      file: entry.file,
      ...(imageDigest !== undefined && { imageDigest }),
      warnings: [...entry.warnings],
      ...(cold !== undefined && { cold }),
      definition: { ...entry.source },
    }
  }
}

function toSummary(entry: CatalogEntry): z.infer<typeof FunctionSummary> {
  const { name, state } = entry
  if (state === 'broken') return { name, state, problems: entry.problems.map(showProblem) }
  const { description, container } = entry.spec
  return { name, state, ...(description !== undefined && { description }), image: container.image }
}
