import { expect, test } from 'vitest'
import { STATUS } from '../../src/http/errors.ts'
import { send, serve } from './serve.ts'

interface Operation {
  readonly parameters: readonly {
    readonly name: string
    readonly in: string
    readonly schema: { readonly pattern?: string }
  }[]
  readonly responses: object
}

async function readCall(): Promise<Operation> {
  const { url } = await serve()
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, Operation>>
  }
  return document.paths['/function/{name}']!['post']!
}

function pattern({ parameters }: Operation, where: string): RegExp {
  return new RegExp(parameters.find((each) => each.in === where)?.schema.pattern ?? 'missing', 'u')
}

test('the description of a call has every status that a refusal can have', async () => {
  const { responses } = await readCall()
  // A delivery to a webhook alone is refused for its encoding, and a deployment for a precondition.
  const { unsupported_media_type: _, precondition_failed: __, ...ofCalls } = STATUS
  expect(Object.keys(responses)).toEqual(
    expect.arrayContaining(Object.values(ofCalls).map((status) => String(status))),
  )
})

test('the description of a name tells those that a function can have from others', async () => {
  const name = pattern(await readCall(), 'path')
  expect(['hello', 'a', '9-lives'].filter((each) => !name.test(each))).toEqual([])
  expect(['', 'Hello', '-a', 'a/b', 'a'.repeat(64)].filter((each) => name.test(each))).toEqual([])
})

test.each(['mine', 'a.b:c_d-9', 'x'.repeat(128), 'x'.repeat(129), 'a b', 'é'])(
  'a call id, %s, is taken if the description says so, and only then',
  async (callId) => {
    const { url } = await serve()
    const sent = send(`${url}/healthz`, { 'X-Call-Id': callId }, 'GET')
    sent.end()
    const { headers } = await sent.response
    const described = pattern(await readCall(), 'header').test(callId)
    expect(headers['x-call-id'] === callId).toBe(described)
    expect(headers['x-call-id']).toBeTruthy()
  },
)

test('a name that no function can have is answered 404 by GET /functions/NAME too', async () => {
  const { url } = await serve()
  expect((await fetch(`${url}/functions/No_Name`)).status).toBe(404)
})

test('every path says what its caller needs, and how he is refused', async () => {
  const { url } = await serve()
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { security: object[]; responses: object }>>
    components: { securitySchemes: object }
  }
  expect(document.components.securitySchemes).toHaveProperty('bearer.scheme', 'bearer')
  const found = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, { security, responses }]) => {
      const isOpen = security.length === 0
      // For want of a signature.
      const isSigned = path === '/hook/{name}' && method === 'post'
      expect([path, '401' in responses, '403' in responses]).toEqual([
        path,
        !isOpen || isSigned,
        !isOpen,
      ])
      return [`${method.toUpperCase()} ${path}`, JSON.stringify(security)]
    }),
  )
  expect(Object.fromEntries(found)).toMatchObject({
    'GET /healthz': '[]',
    'GET /nodes': '[{"bearer":["read"]}]',
    'POST /function/{name}': '[{"bearer":["invoke:*"]},{}]',
    'POST /deliveries/{id}/retry': '[{"bearer":["admin"]}]',
  })
})
