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
