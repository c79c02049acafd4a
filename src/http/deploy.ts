import type { IncomingMessage } from 'node:http'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { OneshotError } from '../core/error.ts'
import type { CatalogEntry } from '../gateway/catalog-entry.ts'
import type { Deployer, Deployment } from '../gateway/deployed.ts'
import type { Env } from './app.ts'
import { streamBody, unlessStalled } from './body.ts'
import type { FunctionDetail } from './openapi.ts'
import { putFunction, removeFunction } from './openapi-functions.ts'
import { readExpectation } from './precondition.ts'
import type { z } from '@hono/zod-openapi'

export interface DeployRouteDeps {
  readonly deployer: Deployer
}

type ToDetail = (entry: CatalogEntry) => Promise<z.infer<typeof FunctionDetail>>

/** `PUT /functions/NAME` and `DELETE /functions/NAME`. */
export function mountDeploy(
  app: OpenAPIHono<Env>,
  { deployer }: DeployRouteDeps,
  toDetail: ToDetail,
): void {
  app.openapi(putFunction, async (c) => {
    checkType(c.req.header('Content-Type'))
    checkEncoding(c.req.header('Content-Encoding'))
    const source = await readSource(c.env.incoming, c.env.askForBody)
    const { isNew, entry } = await deployer.put({ ...readWhat(c), source })
    c.header('ETag', entry.etag)
    const detail = await toDetail(entry)
    if (!isNew) return c.json(detail, 200)
    c.header('Location', `/functions/${entry.name}`)
    return c.json(detail, 201)
  })

  app.openapi(removeFunction, async (c) => {
    await deployer.remove(readWhat(c))
    return c.body(null, 204)
  })
}

function readWhat(c: Context<Env, '/functions/:name'>): Omit<Deployment, 'source'> {
  return {
    name: c.req.param('name'),
    by: c.get('caller').name,
    isExpected: readExpectation(c.req.header('If-Match'), c.req.header('If-None-Match')),
  }
}

const MAX_SOURCE_BYTES = 256 * 1024
const TYPES =
  /^(?:(?:application|text)\/(?:x-)?yaml|application\/(?:[\w.-]+\+)?(?:json|yaml)|text\/plain|application\/octet-stream)$/

function checkType(type: string | undefined): void {
  const [name = ''] = (type ?? '').split(';')
  if (name.trim() === '' || TYPES.test(name.trim().toLowerCase())) return
  const detail =
    'The body is the definition, in YAML or JSON: send it with Content-Type: application/yaml or application/json.'
  throw new OneshotError('bad_request', detail)
}

/** RFC 9110, 15.5.16 */
function checkEncoding(encoding = 'identity'): void {
  if (encoding.trim().toLowerCase() === 'identity') return
  const detail = 'The definition is taken as it is: send it without Content-Encoding.'
  throw new OneshotError('unsupported_media_type', detail)
}

async function readSource(incoming: IncomingMessage, askForBody: () => void): Promise<string> {
  if (Number(incoming.headers['content-length'] ?? 0) > MAX_SOURCE_BYTES) throw tooLarge()
  const chunks: Uint8Array[] = []
  const body = streamBody(incoming, askForBody, MAX_SOURCE_BYTES, tooLarge)
  for await (const chunk of unlessStalled(incoming, body)) chunks.push(chunk)
  const source = decode(Buffer.concat(chunks))
  if (source !== undefined && !source.includes('\0')) return source
  throw new OneshotError('bad_request', 'The body is not text in UTF-8: send the definition so.')
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function tooLarge(): OneshotError {
  const detail = `A definition that is deployed is at most ${MAX_SOURCE_BYTES / 1024} KiB: bring files along in the image.`
  return new OneshotError('input_too_large', detail)
}
