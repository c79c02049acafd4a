import { expect, test } from 'vitest'
import type { WebhookScheme } from '../../../src/core/trigger.ts'
import { findAnswer, matchesEvents, readEvent } from '../../../src/core/webhook/event.ts'
import { parseJsonPath } from '../../../src/core/webhook/json-path.ts'
import { toHookHeaders } from '../../../src/core/webhook/request.ts'

const token = (event: { header: string } | { path: string }): WebhookScheme => ({
  provider: 'token',
  header: 'x-key',
  event: 'path' in event ? { path: parseJsonPath(event.path)! } : event,
})
const cloudevents: WebhookScheme = { provider: 'cloudevents', allowUnsigned: true }
const alertmanager: WebhookScheme = { provider: 'alertmanager', allowUnsigned: true }

test.each<[WebhookScheme, string[], unknown, unknown]>([
  [{ provider: 'github' }, ['X-GitHub-Event', 'push'], {}, { type: 'push' }],
  [
    { provider: 'github' },
    ['X-GitHub-Event', 'pull_request'],
    { action: 'opened' },
    { type: 'pull_request', action: 'opened' },
  ],
  [{ provider: 'github' }, ['X-GitHub-Event', 'push'], { action: 1 }, { type: 'push' }],
  [{ provider: 'github' }, ['X-GitHub-Event', 'push', 'X-GitHub-Event', 'ping'], {}, undefined],
  [{ provider: 'github' }, ['X-GitHub-Event', 'x'.repeat(201)], {}, undefined],
  [{ provider: 'github' }, [], { action: 'opened' }, undefined],
  [
    { provider: 'gitea' },
    ['X-Gitea-Event', 'issues', 'X-GitHub-Event', 'x'],
    { action: 'closed' },
    { type: 'issues', action: 'closed' },
  ],
  [{ provider: 'gitea' }, ['X-Forgejo-Event', 'push'], {}, { type: 'push' }],
  [
    { provider: 'gitlab' },
    [],
    { object_kind: 'merge_request', object_attributes: { action: 'open' } },
    { type: 'merge_request', action: 'open' },
  ],
  [{ provider: 'gitlab' }, [], { event_name: 'project_create' }, { type: 'project_create' }],
  [{ provider: 'stripe' }, [], { type: 'invoice.paid' }, { type: 'invoice.paid' }],
  [
    { provider: 'slack' },
    [],
    { type: 'event_callback', event: { type: 'app_mention' } },
    { type: 'app_mention' },
  ],
  [{ provider: 'slack' }, [], { type: 'block_actions' }, { type: 'block_actions' }],
  [{ provider: 'slack' }, [], { command: '/deploy' }, { type: '/deploy' }],
  [{ provider: 'standard' }, [], { type: 'user.created' }, { type: 'user.created' }],
  [cloudevents, [], { type: 'com.example.x' }, { type: 'com.example.x' }],
  [alertmanager, [], { status: 'firing' }, { type: 'firing' }],
  [token({ header: 'x-topic' }), ['X-Topic', 'orders/create'], {}, { type: 'orders/create' }],
  [token({ path: '$.kind' }), [], { kind: 7 }, { type: '7' }],
  [token({ path: '$.kinds[*]' }), [], { kinds: ['a', 'b'] }, undefined],
  [{ provider: 'none' }, [], { type: 'x' }, undefined],
])('%j %j %j', (scheme, headers, json, expected) => {
  expect(readEvent(scheme, toHookHeaders(headers), json)).toEqual(expected)
  for (const odd of [undefined, null, 1, 'x', []]) {
    expect(() => readEvent(scheme, toHookHeaders(headers), odd)).not.toThrow()
  }
})

test('events name a type, or a type with its action', () => {
  const event = { type: 'pull_request', action: 'opened' }
  expect(matchesEvents(undefined, undefined)).toBe(true)
  expect(matchesEvents(['push', 'pull_request'], event)).toBe(true)
  expect(matchesEvents(['pull_request.opened'], event)).toBe(true)
  expect(matchesEvents(['pull_request.closed', 'opened'], event)).toBe(false)
  expect(matchesEvents(['pull_request.opened'], { type: 'pull_request' })).toBe(false)
  expect(matchesEvents(['push'], undefined)).toBe(false)
  expect(matchesEvents([], event)).toBe(false)
})

test("Slack's challenge and GitHub's ping are answered, and nobody else's", () => {
  const find = (scheme: WebhookScheme, headers: string[], json: unknown) =>
    findAnswer(scheme, readEvent(scheme, toHookHeaders(headers), json), json)
  const json = { type: 'url_verification', challenge: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdAL' }
  const text = json.challenge
  expect(find({ provider: 'slack' }, [], json)).toEqual({ kind: 'challenge', text })
  expect(find({ provider: 'standard' }, [], json)).toBeUndefined()
  for (const challenge of [undefined, 1, '', '<b>\n', 'x'.repeat(1001), ['x']]) {
    expect(find({ provider: 'slack' }, [], { ...json, challenge })).toBeUndefined()
  }
  expect(find({ provider: 'github' }, ['X-GitHub-Event', 'ping'], {})).toEqual({ kind: 'ping' })
  expect(find({ provider: 'github' }, ['X-GitHub-Event', 'push'], {})).toBeUndefined()
  expect(find({ provider: 'gitea' }, ['X-Gitea-Event', 'ping'], {})).toBeUndefined()
})
