import { createHmac } from 'node:crypto'
import { onTestFinished } from 'vitest'
import type { FunctionSpec } from '../../src/core/function.ts'
import type { WebhookTrigger } from '../../src/core/trigger.ts'
import type { HookRequest } from '../../src/core/webhook/request.ts'
import { functionSpec } from '../function-spec.ts'
import { startWorking } from './working.ts'

export const SECRET = 'a secret that nobody guesses'

/** GitHub's, of pushes, unless something else is said. */
export function webhook(overrides: Partial<WebhookTrigger> = {}): WebhookTrigger {
  return {
    type: 'webhook',
    name: 'deploy',
    scheme: { provider: 'github' },
    secrets: [{ value: SECRET }],
    input: { body: 'raw', parameters: {}, environment: {} },
    mode: 'async',
    ...overrides,
  }
}

export function hooked(
  trigger: Partial<WebhookTrigger> = {},
  overrides: Parameters<typeof functionSpec>[0] = {},
): FunctionSpec {
  return functionSpec({ triggers: [webhook(trigger)], ...overrides })
}

/** As GitHub signs it. */
export function sign(body: string | Uint8Array, secret = SECRET): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
}

let count = 0

/** The headers of a push, signed, each with an id of its own. */
export function githubHeaders(
  body: string | Uint8Array,
  overrides: Readonly<Record<string, string>> = {},
): Record<string, string> {
  count += 1
  return {
    'content-type': 'application/json',
    'x-github-event': 'push',
    'x-github-delivery': `guid-${count}`,
    'x-hub-signature-256': sign(body),
    ...overrides,
  }
}

export function push(branch = 'main', more: object = {}): string {
  return JSON.stringify({ ref: `refs/heads/${branch}`, after: 'c0ffee', ...more })
}

export function toRequest(
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array,
): HookRequest {
  return {
    headers: new Map(Object.entries(headers).map(([name, value]) => [name, [value]])),
    query: new URLSearchParams(),
    body: Buffer.from(body),
  }
}

/** A gateway whose function `test` has a webhook. */
export async function startHooked(
  spec: FunctionSpec = hooked(),
  options: Parameters<typeof startWorking>[0] = {},
) {
  const gateway = await startWorking({ specs: [spec], ...options })
  const { hooks } = gateway
  const receive = async (body = push(), headers: Readonly<Record<string, string>> = {}) => {
    const request = toRequest(githubHeaders(body, headers), body)
    const arrival = { callId: 'call', address: '192.0.2.1', receivedAt: Date.now() }
    const [received] = await hooks.receive(hooks.get('deploy'), request, arrival)
    return received!
  }
  onTestFinished(() => gateway.stop())
  return { ...gateway, receive }
}
