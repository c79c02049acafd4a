import { once } from 'node:events'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { json } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { Envelope } from '../src/core/envelope.ts'

export const MIB = 1024 ** 2
export const GIB = 1024 ** 3

const RAW = { Accept: 'application/octet-stream' }

/** Sends zeros through the gallery's `echo` and back, raw, and holds none of them: what came back. */
export async function floodEcho(url: string, bytes: number) {
  const response = await post(`${url}/function/echo`, { headers: RAW }, zeros(bytes))
  let returned = 0
  for await (const chunk of response as AsyncIterable<Buffer>) returned += chunk.length
  return { bytes: returned, exitCode: response.trailers['x-oneshot-exit-code'] }
}

/** Has the gallery's `flood` print so many bytes into an envelope. */
export async function floodEnvelope(url: string, bytes: number): Promise<Envelope> {
  return (await json(await post(`${url}/function/flood?bytes=${bytes}`))) as Envelope
}

/** Has the gallery's `flood` print so many bytes, raw: the answer, for its reader to take as slowly as it likes. */
export function floodRaw(url: string, bytes: number): Promise<IncomingMessage> {
  return post(`${url}/function/flood?bytes=${bytes}`, { headers: RAW })
}

/** Rejects unless the answer is 200. Returns at its head, while a body may still be on its way. */
export async function post(
  url: string,
  options: RequestOptions = {},
  body?: Readable,
): Promise<IncomingMessage> {
  const outgoing = request(url, { method: 'POST', ...options })
  // Should the body fail once the answer has begun, the answer breaks off.
  if (body) pipeline(body, outgoing).catch(() => {})
  else outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`)
  return response
}

function zeros(bytes: number): Readable {
  const piece = Buffer.alloc(64 * 1024)
  return Readable.from(Array.from({ length: bytes / piece.length }, () => piece))
}
