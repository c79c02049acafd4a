import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { DefinitionSettings } from '../../src/gateway/definition.ts'
import { readDefinition, showProblem } from '../../src/gateway/definition.ts'
import { definitionSettings, problemsOf, read, readSpec } from './definition-settings.ts'

const SECRET = 'It is a secret of some length'
const environment = { HOOK_SECRET: SECRET, SHORT: 'abc', EMPTY: '' }

const triggersOf = async (yaml: string, settings: Partial<DefinitionSettings> = { environment }) =>
  (
    await readSpec(
      `image: i\nparameters: { ref: { type: string }, sha: { type: string } }\n${yaml}`,
      settings,
    )
  ).triggers

const wrong = (trigger: string) =>
  problemsOf(`triggers:\n  - { ${trigger} }`, { environment }).then((problems) =>
    problems.map((problem) => problem.replace(/^test\.yml:\d+:\d+: /, '')),
  )

async function makeFile(name: string, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'oneshot-trigger-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, name), text)
  return join(folder, name)
}

test('a webhook and a schedule are read as they are written, with their defaults', async () => {
  const file = await makeFile('old_secret', 'the former secret of it\n')
  const triggers = await triggersOf(`
triggers:
  - type: webhook
    name: deploy
    provider: github
    secrets: [{ env: HOOK_SECRET }, { file: ${file}, notAfter: 2027-01-01T00:00:00Z }]
    events: [push, pull_request.opened]
    when: { all: [{ path: $.ref, eq: refs/heads/main }, { header: X-GitHub-Event, in: [push, 1] }] }
    input: { body: raw, parameters: { ref: $.ref, sha: $.after }, environment: { WHO: { header: X-Who }, N: 1 } }
    mode: async
    concurrency: { max: 1, key: $.repository.full_name, policy: queue }
  - type: schedule
    name: nightly
    cron: "0 3 * * *"
    timezone: Europe/Berlin
    overlap: skip
    catchUp: once
    parameters: { ref: refs/heads/main }
  - { type: webhook, provider: stripe, secrets: [{ env: HOOK_SECRET }] }
  - { type: schedule, every: 5m }
`)
  expect(triggers).toEqual([
    {
      type: 'webhook',
      name: 'deploy',
      scheme: { provider: 'github' },
      secrets: [
        { value: SECRET },
        { value: 'the former secret of it', notAfter: Date.UTC(2027, 0, 1) },
      ],
      events: ['push', 'pull_request.opened'],
      when: {
        all: [
          { path: [{ name: 'ref' }], eq: 'refs/heads/main' },
          { header: 'x-github-event', in: ['push', 1] },
        ],
      },
      input: {
        body: 'raw',
        parameters: { ref: { path: [{ name: 'ref' }] }, sha: { path: [{ name: 'after' }] } },
        environment: { WHO: { header: 'x-who' }, N: { value: 1 } },
      },
      mode: 'async',
      concurrency: {
        max: 1,
        key: { path: [{ name: 'repository' }, { name: 'full_name' }] },
        policy: 'queue',
      },
    },
    {
      type: 'schedule',
      name: 'nightly',
      timing: { kind: 'cron', expression: '0 3 * * *', timezone: 'Europe/Berlin' },
      overlap: 'skip',
      catchUp: 'once',
      maxLatenessMs: 3_600_000,
      parameters: { ref: 'refs/heads/main' },
    },
    {
      type: 'webhook',
      name: 'test',
      scheme: { provider: 'stripe' },
      secrets: [{ value: SECRET }],
      input: { body: 'raw', parameters: {}, environment: {} },
      mode: 'async',
    },
    {
      type: 'schedule',
      name: 'test',
      timing: { kind: 'every', everyMs: 300_000 },
      overlap: 'skip',
      catchUp: 'once',
      maxLatenessMs: 3_600_000,
      parameters: {},
    },
  ])
})

test('an hmac says what is signed', async () => {
  const [trigger] = await triggersOf(`
triggers:
  - type: webhook
    provider: hmac
    header: X-Zendesk-Webhook-Signature
    encoding: base64
    template: "{timestamp}{body}"
    timestamp: { header: X-Zendesk-Webhook-Signature-Timestamp, unit: iso }
    id: $.id
    secrets: [{ env: HOOK_SECRET }]
`)
  expect(trigger).toMatchObject({
    scheme: {
      provider: 'hmac',
      header: 'x-zendesk-webhook-signature',
      algorithm: 'sha256',
      encoding: 'base64',
      prefix: '',
      template: '{timestamp}{body}',
      timestamp: { header: 'x-zendesk-webhook-signature-timestamp', unit: 'iso' },
      id: { path: [{ name: 'id' }] },
    },
  })
})

test('a change of a secret’s file is a change of the function', async () => {
  const file = await makeFile('secret', SECRET)
  const definition = `image: i\ntriggers: [{ type: webhook, provider: github, secrets: [{ file: secret }] }]`
  const result = await readDefinition(join(file, '../test.yml'), definition, definitionSettings())
  expect(result.readFiles).toEqual([file])
  expect(result.spec?.triggers[0]).toMatchObject({ secrets: [{ value: SECRET }] })
})

const GITHUB = 'type: webhook, provider: github'
const SIGNED = `${GITHUB}, secrets: [{ env: HOOK_SECRET }]`
const HMAC = 'type: webhook, provider: hmac, header: x-s, secrets: [{ env: HOOK_SECRET }]'

test.each([
  ['type: mail', 'triggers.0.type: expected one of webhook, schedule, got "mail"'],
  ['type: webhook, provider: bitbucket', /^triggers\.0\.provider: expected one of github, gitlab/],
  [GITHUB, 'triggers.0.secrets: expected a list of maps of env or file, got nothing'],
  [`${GITHUB}, secrets: []`, 'triggers.0.secrets: expected 1 to 10 secrets'],
  [
    `${GITHUB}, secrets: [{ env: MISSING }]`,
    'triggers.0.secrets.0: the variable MISSING is not set: set it for the gateway, or name another',
  ],
  [`${GITHUB}, secrets: [{ env: EMPTY }]`, /^triggers\.0\.secrets\.0: the variable EMPTY is empty/],
  [`${GITHUB}, secrets: [{ file: nowhere }]`, /^triggers\.0\.secrets\.0: nowhere /],
  [
    `${GITHUB}, secrets: [{ env: A, file: b }]`,
    /expected one of env, the name of a variable, and file/,
  ],
  [`${GITHUB}, secrets: [{ value: a }]`, /^triggers\.0\.secrets\.0\.value: unknown key/],
  [
    `${GITHUB}, secrets: [{ env: A, notAfter: tomorrow }]`,
    /expected a time such as 2027-01-01T00:00:00Z/,
  ],
  [`${SIGNED}, name: Deploy`, /^triggers\.0\.name: expected a name of a-z, 0-9 and -/],
  [`${SIGNED}, header: x-s`, /^triggers\.0\.header: unknown key/],
  [`${SIGNED}, when: { path: ref, eq: 1 }`, /^triggers\.0\.when\.path: expected a JSON path/],
  [
    `${SIGNED}, when: { path: $.a }`,
    /^triggers\.0\.when: expected all, any or not; or one of path/,
  ],
  [
    `${SIGNED}, when: { path: $.a, eq: 1, in: [2] }`,
    /^triggers\.0\.when: expected all, any or not/,
  ],
  [
    `${SIGNED}, when: { all: [{ path: $.a, match: "(a" }] }`,
    /^triggers\.0\.when\.all\.0\.match: expected a regular/,
  ],
  [`${SIGNED}, when: { path: $.a, match: "(?=a)" }`, /without back references and lookaround/],
  [
    `${SIGNED}, input: { parameters: { ref: $.ref } }`,
    /^triggers\.0\.input\.parameters\.ref: there is no such parameter/,
  ],
  [
    `${SIGNED}, input: { environment: { ONESHOT_X: $.ref } }`,
    /^triggers\.0\.input\.environment\.ONESHOT_X: expected the name/,
  ],
  [
    `${SIGNED}, input: { environment: { X: $x } }`,
    /^triggers\.0\.input\.environment\.X: expected a JSON path/,
  ],
  [`${SIGNED}, concurrency: { max: 0 }`, /^triggers\.0\.concurrency\.max: expected a whole number/],
  [`${SIGNED}, mode: later`, /^triggers\.0\.mode: expected one of async, sync/],
  ['type: webhook, provider: none', /expected allowUnsigned: true: anyone may send then/],
  ['type: webhook, provider: alertmanager', /expected secrets; or allowUnsigned: true/],
  [`${HMAC}, template: "{time}.{body}"`, /^triggers\.0\.template: expected \{body\}, and no other/],
  [
    `${HMAC}, template: "{timestamp}.{body}"`,
    /^triggers\.0\.template: expected \{timestamp\} where/,
  ],
  [`${HMAC}, timestamp: x-time`, /^triggers\.0\.template: expected \{timestamp\} where/],
  [
    `${HMAC}, template: "{id}{body}", id: $.id`,
    /^triggers\.0\.template: expected id to name the header/,
  ],
  ['type: schedule', /^triggers\.0: expected one of cron, such as/],
  ['type: schedule, cron: "* * * * *", every: 5m', /^triggers\.0: expected one of cron, such as/],
  ['type: schedule, every: 10ms', /^triggers\.0\.every: expected at least 1s/],
  ['type: schedule, every: 5m, timezone: UTC', /^triggers\.0\.timezone: goes with cron/],
  ['type: schedule, cron: "61 * * * *"', /^triggers\.0\.cron: expected minute, hour/],
  ['type: schedule, cron: "0 0 30 2 *"', /^triggers\.0\.cron: expected a time that comes/],
  [
    'type: schedule, cron: "@daily", timezone: Berlin',
    /^triggers\.0\.timezone: expected a time zone/,
  ],
  [
    'type: schedule, every: 5m, parameters: { a: 1 }',
    /^triggers\.0\.parameters: Correct the parameters: #\/a there is no such/,
  ],
])('%s is refused with what was expected', async (trigger, problem) => {
  const [told, ...others] = await wrong(trigger)
  expect(told).toMatch(problem)
  expect(others).toEqual([])
})

test('two triggers of one type and name are refused', async () => {
  const problems = await problemsOf(
    'triggers: [{ type: schedule, every: 5m }, { type: schedule, every: 6m }]',
  )
  expect(problems.join()).toContain('triggers.1.name: there is another schedule test')
})

test('a short secret is warned of, and no part of a secret is ever told', async () => {
  const given = { environment: { ...environment, WRONG: 'whsec_!!!not base64 at all' } }
  const short = await read(`image: i\ntriggers: [{ ${GITHUB}, secrets: [{ env: SHORT }] }]`, given)
  const warnings = 'warnings' in short ? short.warnings.join() : ''
  expect(warnings).toMatch(/^triggers\.0: the variable SHORT /)
  const standard = 'type: webhook, provider: standard, secrets: [{ env: WRONG }]'
  const { problems = [] } = await read(`image: i\ntriggers: [{ ${standard} }]`, given)
  const told = problems.map(showProblem).join()
  expect(told).toContain('the variable WRONG')
  expect(told + warnings).not.toMatch(/not base64|whsec_!|abc/)
})

test('what is shown of a definition has its paths', async () => {
  const yaml = `image: i\ntriggers: [{ ${SIGNED}, concurrency: { key: $.repository.full_name } }]`
  expect(await read(yaml, { environment })).toHaveProperty('source', {
    image: 'i',
    triggers: [
      {
        type: 'webhook',
        provider: 'github',
        secrets: [{ env: 'HOOK_SECRET' }],
        concurrency: { key: '$.repository.full_name' },
      },
    ],
  })
})

test.each([
  ['events: []', 'events: expected a list of events such as push, at least one'],
  ['when: { all: [] }', 'when.all: expected a list of rules, at least one'],
  ['when: { not: { any: [] } }', 'when.not.any: expected a list of rules, at least one'],
  ['when: { path: $.a, in: [] }', 'when.in: expected a list of values, at least one'],
])('an empty list is a mistake: %s', async (text, expected) => {
  const github = 'type: webhook, provider: github, secrets: [{ env: HOOK_SECRET }]'
  expect(await wrong(`${github}, ${text}`)).toEqual([`triggers.0.${expected}`])
})
