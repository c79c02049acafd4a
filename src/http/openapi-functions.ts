import { createRoute, z } from '@hono/zod-openapi'
import { FunctionDetail, functionName, json, refusal } from './openapi.ts'

const request = {
  params: functionName,
  headers: z.object({
    'If-Match': z
      .string()
      .optional()
      .meta({ description: 'The ETag of what is to be changed, or * (RFC 9110, 13.1.1)' }),
    'If-None-Match': z
      .string()
      .optional()
      .meta({ description: '`*`: only if there is no such function' }),
  }),
}

const headers = z.object({ ETag: z.string() })
const ofFile = refusal('It is a file in the functions folder: only the operator changes it')
const otherVersion = refusal('It is not as If-Match or If-None-Match expect it')
const full = refusal('The disk of the data folder is full, or as much is deployed as can be')

export const putFunction = createRoute({
  method: 'put',
  path: '/functions/{name}',
  summary: 'Deploy a function, or change one that was deployed',
  description:
    'The body is its definition, as a file would have it, in YAML or JSON, within what the operator allows. It is served once this is answered.',
  request: {
    ...request,
    // As JSON it is not for us to read: JSON is YAML.
    body: { required: true, content: { 'application/yaml': { schema: z.string() } } },
  },
  responses: {
    200: { description: 'It was changed', headers, content: json(FunctionDetail) },
    201: {
      description: 'It is new: Location names it',
      headers: headers.extend({ Location: z.string() }),
      content: json(FunctionDetail),
    },
    400: refusal('The body is no text, or has another type'),
    409: ofFile,
    412: otherVersion,
    413: refusal('The definition is longer than 256 KiB'),
    415: refusal('The body has a Content-Encoding'),
    422: refusal(
      'The definition is wrong, or asks for more than the operator allows: errors tell where',
    ),
    507: full,
  },
})

export const removeFunction = createRoute({
  method: 'delete',
  path: '/functions/{name}',
  summary: 'Remove a function that was deployed',
  description: 'Calls of it that wait end as not found; those that run go on.',
  request,
  responses: {
    204: { description: 'It is gone' },
    404: refusal('There is no such function'),
    409: ofFile,
    412: otherVersion,
  },
})
