import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Access } from './access.ts'
import { ACCESS } from './access.ts'
import type { Env } from './app.ts'
import { PROBLEM_TYPE } from './errors.ts'

type Document = ReturnType<OpenAPIHono<Env>['getOpenAPI31Document']>
type Operation = NonNullable<NonNullable<Document['paths']>[string]['get']>

const SCHEME = 'bearer'

/** `GET /openapi.json`, from the schemas that requests are checked and answers are made with, and from `ACCESS`. */
export function mountOpenApi(app: OpenAPIHono<Env>, version: string): void {
  app.openAPIRegistry.registerComponent('securitySchemes', SCHEME, {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key, or a JSON Web Token',
  })
  let document: Document | undefined
  app.get('/openapi.json', (c) => {
    document ??= withAccess(
      app.getOpenAPI31Document({
        openapi: '3.1.0',
        info: {
          title: 'Oneshot',
          version,
          description: 'Named functions, each call a container of its own.',
        },
      }),
    )
    return c.json(document)
  })
}

/** Says of every operation what it needs of its caller, and how it is refused. */
function withAccess(document: Document): Document {
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const [method, operation] of Object.entries(item)) {
      const access = ACCESS[`${method.toUpperCase()} ${path}`]
      if (access) addAccess(operation as Operation, access)
    }
  }
  return document
}

function addAccess(operation: Operation, { right, unlimited }: Access): void {
  if (right === 'open' || right === 'signed') {
    operation.security = []
  } else {
    // A public function takes calls of anyone.
    operation.security = [{ [SCHEME]: [toScope(right)] }, ...(right === 'invoke' ? [{}] : [])]
    refuse(operation, 401, 'There is no key or token, or it is not valid')
    refuse(operation, 403, 'The key or token lacks the scope, or a web page sent this')
  }
  if (!unlimited) refuse(operation, 429, 'Too many requests: Retry-After says when to try again')
}

function refuse({ responses = {} }: Operation, status: number, description: string): void {
  const schema = { $ref: '#/components/schemas/Problem' }
  responses[status] ??= { description, content: { [PROBLEM_TYPE]: { schema } } }
}

function toScope(right: Access['right']): string {
  if (right === 'invoke' || right === 'invocation-change') return 'invoke:*'
  return right === 'functions' || right === 'invocation' ? 'read' : right
}
