import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../src/config.ts'
import { Settings } from '../src/settings.ts'

describe('settings', () => {
  test('have defaults that serve on loopback', () => {
    expect(readConfig({})).toMatchObject({
      host: '127.0.0.1',
      port: 8080,
      functionsFolder: join(process.cwd(), 'functions'),
      concurrency: 32,
      shutdownMs: 30_000,
      definitions: {
        defaults: { timeoutMs: 60_000, memoryBytes: 512 * 1024 ** 2, inputBytes: 1024 ** 3 },
      },
    })
  })

  test('are read from ONESHOT_ variables, other variables being none of ours', () => {
    const config = readConfig({
      ONESHOT_PORT: '0',
      ONESHOT_TIMEOUT: '1m30s',
      ONESHOT_ALLOW: 'host-pid, privileged',
      HOME: '/',
    })
    expect(config.port).toBe(0)
    expect(config.definitions.defaults.timeoutMs).toBe(90_000)
    expect([...config.definitions.allowed]).toEqual(['host-pid', 'privileged'])
  })

  test.each([
    ['ONESHOT_PORT', 'http', /^ONESHOT_PORT must be a whole number/],
    ['ONESHOT_PORT', '65536', /^ONESHOT_PORT must be a whole number from 0 to 65535/],
    ['ONESHOT_TIMEOUT', '60', /^ONESHOT_TIMEOUT must be a duration such as 30s/],
    ['ONESHOT_MAX_TIMEOUT', '25d', /^ONESHOT_MAX_TIMEOUT must be at most 24d/],
    ['ONESHOT_SWEEP_INTERVAL', '2147483648ms', /^ONESHOT_SWEEP_INTERVAL must be at most 24d/],
    ['ONESHOT_MEMORY', 'much', /^ONESHOT_MEMORY must be a size such as 512m/],
    ['ONESHOT_BACKEND', 'kubernetes', /^ONESHOT_BACKEND must be container/],
    ['ONESHOT_MEMORY', '1m', /^ONESHOT_MEMORY must be at least 6m$/],
    ['ONESHOT_MAX_OUTPUT', '65m', /^ONESHOT_MAX_OUTPUT must be at most 64m$/],
    ['ONESHOT_MAX_LOGS', '1', /^ONESHOT_MAX_LOGS must be at least 4k$/],
    ['ONESHOT_MAX_INPUT', '0', /^ONESHOT_MAX_INPUT must be at least 1b$/],
    ['ONESHOT_TIMEOUT', '2d', /^ONESHOT_TIMEOUT must be at most ONESHOT_MAX_TIMEOUT/],
    ['ONESHOT_SHUTDOWN_TIMEOUT', '0s', /^ONESHOT_SHUTDOWN_TIMEOUT must be above 0$/],
    ['ONESHOT_FUNCTIONS', '', /^ONESHOT_FUNCTIONS must be a folder, not empty$/],
    ['ONESHOT_LOG_LEVEL', 'loud', /^ONESHOT_LOG_LEVEL must be one of fatal, error, warn/],
    ['ONESHOT_ALLOW', 'everything', /^ONESHOT_ALLOW has "everything"; it may list privileged/],
    ['ONESHOT_HOST', '', /^ONESHOT_HOST must be an address such as 127.0.0.1, not empty$/],
    ['ONESHOT_PROT', '1', /^ONESHOT_PROT is not a setting: did you mean ONESHOT_PORT\?$/],
    ['ONESHOT_INSECURE', 'yes', /^ONESHOT_INSECURE must be true or false$/],
    ['ONESHOT_RATE_PER_KEY', '5', /^ONESHOT_RATE_PER_KEY must be a rate such as 50\/s/],
    ['ONESHOT_TRUSTED_PROXIES', 'proxy', /^ONESHOT_TRUSTED_PROXIES has "proxy", which is no/],
    ['ONESHOT_CORS_ORIGINS', '*', /^ONESHOT_CORS_ORIGINS has "\*": an origin is written/],
    ['ONESHOT_CORS_ORIGINS', 'https://a.example/', /^ONESHOT_CORS_ORIGINS has "https:/],
    ['ONESHOT_JWT_ALGORITHMS', 'none', /^ONESHOT_JWT_ALGORITHMS must list some of HS256/],
    ['ONESHOT_JWT_JWKS_URL', 'http://a.example/keys', /^ONESHOT_JWT_JWKS_URL must be a URL that/],
    ['ONESHOT_JWT_JWKS_URL', 'https://a.example/keys', /^ONESHOT_JWT_AUDIENCE must be set/],
    ['ONESHOT_JWT_ISSUER', 'https://a.example', /^ONESHOT_JWT_AUDIENCE must be set/],
    ['ONESHOT_JWT_ISSUER', 'http://a.example', /^ONESHOT_JWT_ISSUER must be a URL that begins/],
    ['ONESHOT_JWT_AUDIENCE', 'us', /^ONESHOT_JWT_AUDIENCE and ONESHOT_JWT_ALGORITHMS need a key/],
    ['ONESHOT_JWT_CLOCK_TOLERANCE', '6m', /^ONESHOT_JWT_CLOCK_TOLERANCE must be at most 5m$/],
    ['ONESHOT_XYZZY', '1', /^ONESHOT_XYZZY is not a setting$/],
  ])('that are wrong (%s=%s) are named', (name, value, message) => {
    expect(() => readConfig({ [name]: value })).toThrow(message)
  })

  test('the default timeout gives way to a lower bound', () => {
    expect(() => readConfig({ ONESHOT_MAX_TIMEOUT: '30s' })).not.toThrow()
  })

  test('of tokens name one key at most', () => {
    const one = { ONESHOT_JWT_SECRET_FILE: '/a', ONESHOT_JWT_ISSUER: 'us' }
    expect(readConfig(one).tokens).toMatchObject({ secretFile: '/a', issuer: 'us' })
    expect(readConfig({}).tokens).toBeUndefined()
    const two = { ...one, ONESHOT_JWT_PUBLIC_KEY_FILE: '/b' }
    expect(() => readConfig(two)).toThrow(/exclude one another: set one/)
  })

  test('an empty DOCKER_CONFIG is none', () => {
    const { dockerConfigFile } = readConfig({})
    expect(readConfig({ DOCKER_CONFIG: '' })).toMatchObject({ dockerConfigFile })
  })

  test.each([
    ['unix:///home/a b/docker.sock', ['unix:///home/a b/docker.sock']],
    ['unix://', ['unix://']],
    ['tcp://a:1, tcp://b:2', ['tcp://a:1', 'tcp://b:2']],
    ['unix:///a.sock,unix:///b.sock', ['unix:///a.sock', 'unix:///b.sock']],
    ['', []],
  ])('DOCKER_HOST may be a list, and a path have spaces: "%s"', (DOCKER_HOST, engineHosts) => {
    const config = readConfig({ DOCKER_HOST, ONESHOT_BACKEND: 'swarm' })
    expect(config).toMatchObject({ engineHosts })
  })

  test('that are wrong are all told at once', () => {
    expect(() => readConfig({ ONESHOT_PORT: 'x', ONESHOT_NOPE: '1', ONESHOT_QUEUE: '-1' })).toThrow(
      /ONESHOT_NOPE.*ONESHOT_PORT.*ONESHOT_QUEUE/,
    )
  })

  test('stand in the README, each with its default', () => {
    const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
    const rows = new Map(
      [...readme.matchAll(/^\| `(ONESHOT_\w+)` \| (.*?) \| (.*?) \|$/gm)].map(
        ([, name, fallback, text]) => [name, { fallback, text }],
      ),
    )
    const documented = Object.entries(Settings.shape).map(([name, { def, description }]) => {
      const fallback = 'defaultValue' in def ? def.defaultValue : ''
      return [name, { fallback: fallback === '' ? 'none' : `\`${fallback}\``, text: description }]
    })
    expect([...rows]).toEqual(documented)
  })
})
