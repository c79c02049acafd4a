import { expect, test } from 'vitest'
import { maskSecrets } from '../../src/gateway/definition-source.ts'
import { read } from './definition-settings.ts'

test('the values of what looks like a secret are masked, wherever they stand', () => {
  const source = {
    image: 'i',
    environment: {
      DB_PASSWORD: 'hunter2',
      API_KEY: 12345678,
      AUTH_ENABLED: true,
      github_token: 'a${TOKEN}b',
      URL: 'postgres://me:hunter2@db/x',
      MODE: 'fast',
    },
    env: ['CLIENT_SECRET=hunter2', 'MODE=fast', 'TOKEN'],
    command: ['curl', '--token=hunter2', 'https://me:hunter2@a.example/'],
    'x-shared': { PRIVATE: 'hunter2' },
    volumes: [{ volume: { driver_opts: { o: 'user=me,password=hunter2,ro' } } }],
    parameters: { api_key: { type: 'string', default: 'hunter2', examples: ['hunter2'] } },
    labels: { 'a.credential': 'hunter2' },
  }
  const masked = maskSecrets(source)
  expect(JSON.stringify(masked)).not.toMatch(/hunter2|12345678/)
  expect(masked).toMatchObject({
    environment: {
      DB_PASSWORD: '***',
      API_KEY: '***',
      AUTH_ENABLED: true,
      github_token: '***',
      MODE: 'fast',
    },
    env: ['CLIENT_SECRET=***', 'MODE=fast', 'TOKEN'],
    command: ['curl', '--token=***', 'https://me:***@a.example/'],
    volumes: [{ volume: { driver_opts: { o: 'user=me,password=***,ro' } } }],
    parameters: { api_key: { type: 'string', default: '***', examples: ['***'] } },
  })
})

test.each<[string, object, object]>([
  [
    'all of a variable in a list',
    { environment: ['DB_PASSWORD=correct horse,battery staple', 'A=b c'] },
    { environment: ['DB_PASSWORD=***', 'A=b c'] },
  ],
  ['all of a label in a list', { labels: ['a.token=b;c&d'] }, { labels: ['a.token=***'] }],
  [
    'what is quoted in a command',
    { command: `sh -c 'API_KEY="abc def" X=1 run'` },
    { command: `sh -c 'API_KEY=*** X=1 run'` },
  ],
  [
    'a quoted word with more behind it',
    { command: `run --token=abc"d e"f 'g h'` },
    { command: `run --token=*** 'g h'` },
  ],
  [
    'a password that has an @ or a / in it',
    { environment: { URL: 'postgres://u:p@s/s@h/db', B: 'a://b:c@d' } },
    { environment: { URL: 'postgres://u:***@h/db', B: 'a://b:***@d' } },
  ],
  [
    'the argument after a telling option',
    { command: ['run', '--password', 'hunter2', '--token', '-v', '-key', '${KEY}'] },
    { command: ['run', '--password', '***', '--token', '-v', '-key', '${KEY}'] },
  ],
  [
    'the word after a telling option',
    { command: 'run --password hunter2 --verbose --auth-token "a b" --key $KEY x' },
    { command: 'run --password *** --verbose --auth-token *** --key $KEY x' },
  ],
  [
    'a field of HTTP',
    { command: ['curl', '-H', 'Authorization: Bearer tok-123', '-H', 'X-Api-Key: a b'] },
    { command: ['curl', '-H', 'Authorization: Bearer ***', '-H', 'X-Api-Key: ***'] },
  ],
  [
    'a field of HTTP in a text',
    { command: 'curl -H "Authorization: Basic abc=" -H "X-Token: a b" http://a.example' },
    { command: 'curl -H "Authorization: Basic ***" -H "X-Token: ***" http://a.example' },
  ],
  [
    "a scheme's value",
    { environment: { H: 'Bearer a.b.c' } },
    { environment: { H: 'Bearer ***' } },
  ],
  [
    'a value within another',
    { environment: { OPTIONS: 'X=y?token=abc', JSON: '{"password": "a b", "c": 1}' } },
    { environment: { OPTIONS: 'X=y?token=***', JSON: '{"password": *** "c": 1}' } },
  ],
  [
    'all of the sample of a parameter with a telling name',
    {
      parameters: {
        credentials: { type: 'object', default: { user: 'bob', ids: ['hunter2'], n: { id: 7 } } },
        config: { type: 'object', default: { a: 'b', credentials: { a: 'hunter2' } } },
      },
    },
    {
      parameters: {
        credentials: { type: 'object', default: { user: '***', ids: ['***'], n: { id: '***' } } },
        config: { type: 'object', default: { a: 'b', credentials: { a: '***' } } },
      },
    },
  ],
  [
    'the sample of what is inside such a parameter',
    {
      parameters: {
        password: { type: 'array', items: { type: 'string', default: 'hunter2', enum: ['x'] } },
        token: { type: 'object', properties: { a: { type: 'string', default: 'hunter2' } } },
        key: { type: 'object', additionalProperties: { type: 'string', const: 'hunter2' } },
        a: { type: 'object', properties: { secret: { type: 'string', default: 'hunter2' } } },
      },
    },
    {
      parameters: {
        password: { type: 'array', items: { type: 'string', default: '***', enum: ['***'] } },
        token: { type: 'object', properties: { a: { type: 'string', default: '***' } } },
        key: { type: 'object', additionalProperties: { type: 'string', const: '***' } },
        a: { type: 'object', properties: { secret: { type: 'string', default: '***' } } },
      },
    },
  ],
  [
    'a map of secrets',
    { 'x-secrets': { a: 'hunter2', b: { c: 1 } }, networks: { private: { aliases: ['a'] } } },
    { 'x-secrets': { a: '***', b: { c: '***' } }, networks: { private: { aliases: ['a'] } } },
  ],
  [
    'an assignment with spaces',
    { command: `python -c 'client(x = 1, api_key = "hunter2")'`, env: ['PASSWORD = hunter2'] },
    { command: `python -c 'client(x = 1, api_key = ***`, env: ['PASSWORD = ***'] },
  ],
  [
    'a token in a URL',
    { command: ['a://ghp_1@b/x', 'a://b/@c', 'a://${T}@b', 'a://b:1/x', 'a://t@b,c://d:e@f'] },
    { command: ['a://***@b/x', 'a://b/@c', 'a://${T}@b', 'a://b:1/x', 'a://***@b,c://d:***@f'] },
  ],
  [
    'a long password in a URL',
    { command: `run a://b:${'x'.repeat(1_000)}@c d@e` },
    { command: 'run a://b:***@c d@e' },
  ],
])('%s is masked, and what stands around it is shown', (_, source, masked) => {
  expect(maskSecrets({ image: 'i', ...source })).toEqual({ image: 'i', ...masked })
})

test('prose is shown as it is', () => {
  const source = { description: 'Basic arithmetic. The key: add, then divide.' }
  expect(maskSecrets(source)).toEqual(source)
})

test.each([
  ['word characters', 'k'.repeat(100_000)],
  ['telling words', 'key'.repeat(33_000)],
  ['dashes', '-'.repeat(100_000)],
  ['options', '--key '.repeat(16_000)],
  ['assignments', 'key='.repeat(25_000)],
  ['open quotes', 'key="\\'.repeat(20_000)],
  ['addresses', '://a:'.repeat(20_000)],
  ['users', '://a@'.repeat(25_000)],
  ['passwords', '://a:b@'.repeat(14_000)],
  ['addresses before one with a user', `${'://a'.repeat(25_000)}@`],
  ['spaces after a telling word', `key${' '.repeat(100_000)}`],
  ['spaces after an assignment', `key=${' '.repeat(100_000)}`],
  ['spaces', `--key${' '.repeat(100_000)}-`],
])('100 KB of %s are looked through at once', (_, text) => {
  const begin = performance.now()
  maskSecrets({ command: text })
  maskSecrets({ command: [text, text] })
  expect(performance.now() - begin).toBeLessThan(2_000)
})

test('where a value comes from is shown, and so is which secrets a function has', () => {
  const source = {
    environment: { TOKEN: '${TOKEN}', KEY: '$KEY', SECRET: '${{ secret }}', PASSWORD: null },
    env: ['TOKEN=${TOKEN}'],
    secrets: ['db', { source: 'tls' }],
  }
  expect(maskSecrets(source)).toEqual(source)
})

test("a default that stands in for a secret's variable is masked", () => {
  expect(maskSecrets({ env: { TOKEN: '${TOKEN:-hunter2}', A: 'TOKEN=${T:-hunter2}' } })).toEqual({
    env: { TOKEN: '***', A: 'TOKEN=***' },
  })
})

test('the source is as written: nothing of the environment is in it', async () => {
  const text =
    'image: i\nuser: ${WHO}\nenvironment: { GREETING: "${GREETING}", PASSWORD: hunter2 }\n'
  const { source } = (await read(text, {
    environment: { WHO: 'me', GREETING: 'from the environment' },
  })) as { source: unknown }
  expect(source).toEqual({
    image: 'i',
    user: '${WHO}',
    environment: { GREETING: '${GREETING}', PASSWORD: '***' },
  })
})
