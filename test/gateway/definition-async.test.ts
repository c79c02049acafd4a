import { expect, test } from 'vitest'
import { DEFAULT_RETRIES } from '../../src/core/retry.ts'
import { problemsOf, readSpec } from './definition-settings.ts'

const read = (text: string, environment: Record<string, string> = {}) =>
  readSpec(`image: i\n${text}`, { environment })

test.each<[string, object]>([
  ['retries: 5', { max: 5 }],
  ['retries: { max: 100 }', { max: 100 }],
  ['retries: {}', {}],
  ['retries: { minDelay: 250ms, maxDelay: 1h }', { minDelayMs: 250, maxDelayMs: 3_600_000 }],
  ['retries: { minDelay: 0s }', { minDelayMs: 0 }],
  ['retries: { factor: 1.5, jitter: 0 }', { factor: 1.5, jitter: 0 }],
  ['retries: { factor: "3", jitter: 1 }', { factor: 3, jitter: 1 }],
  ['retries: { onExit: any }', { onExit: 'any' }],
  ['retries: { onExit: [75, 137] }', { onExit: [75, 137] }],
  ['retries: { onExit: [] }', { onExit: [] }],
  ['retries: { onTimeout: true }', { onTimeout: true }],
  ['retries: { max: , onTimeout: }', {}],
])('%s is read, and the rest is by default', async (text, retries) => {
  expect(await read(text)).toMatchObject({
    retries: { ...DEFAULT_RETRIES, ...retries },
    retriesAreAsked: true,
  })
})

test('no retries at all ask for nothing', async () => {
  expect(await read('retries: 0')).toMatchObject({
    retries: { ...DEFAULT_RETRIES, max: 0 },
    retriesAreAsked: false,
  })
})

test('retries come out of variables', async () => {
  const { retries } = await read('retries: { max: $MAX, factor: $FACTOR, onExit: ["$CODE"] }', {
    MAX: '7',
    FACTOR: '1.5',
    CODE: '75',
  })
  expect(retries).toMatchObject({ max: 7, factor: 1.5, onExit: [75] })
})

test('maxAge is a duration; without it nothing is too old', async () => {
  expect((await read('maxAge: 1h30m')).maxAgeMs).toBe(5_400_000)
  expect(await read('')).not.toHaveProperty('maxAgeMs')
})

test.each<[string, object]>([
  ['callback: https://a.test/hook?x=1', { url: 'https://a.test/hook?x=1', format: 'envelope' }],
  ['callback: { url: "http://a.test/" }', { url: 'http://a.test/', format: 'envelope' }],
  [
    'callback: { url: "http://a.test/", format: cloudevents }',
    { url: 'http://a.test/', format: 'cloudevents' },
  ],
  ['callback: { format: raw }', { format: 'raw' }],
])('%s is read', async (text, callback) => {
  expect((await read(text)).callback).toEqual(callback)
})

test('without a callback there is none', async () => {
  expect(await read('')).not.toHaveProperty('callback')
})

test.each([
  ['retries: -1', 'retries: expected a whole number of at least 0, got "-1"'],
  ['retries: 101', 'retries: expected at most 100'],
  ['retries: often', 'retries: expected a whole number of at least 0, got "often"'],
  ['retries: [1]', 'retries: expected a number of retries, or a map, got a list'],
  ['retries: { max: 101 }', 'retries.max: expected at most 100'],
  ['retries: { max: 1.5 }', 'retries.max: expected a whole number'],
  ['retries: { minDelay: 5 }', 'retries.minDelay: expected a duration'],
  ['retries: { maxDelay: 25d }', 'retries.maxDelay: expected at most 24d'],
  ['retries: { factor: 0.5 }', 'retries.factor: expected a number from 1 to 100, got "0.5"'],
  ['retries: { factor: true }', 'retries.factor: expected a number from 1 to 100, got true'],
  ['retries: { jitter: 1.1 }', 'retries.jitter: expected a number from 0 to 1'],
  ['retries: { jitter: [] }', 'retries.jitter: expected a number from 0 to 1, got a list'],
  ['retries: { jitter: " " }', 'retries.jitter: expected a number from 0 to 1'],
  ['retries: { onExit: all }', 'retries.onExit: expected one of any, got "all"'],
  ['retries: { onExit: [0] }', 'retries.onExit.0: expected a whole number of at least 1'],
  ['retries: { onTimeout: sometimes }', 'retries.onTimeout: expected true or false'],
  ['retries: { delay: 1s }', 'retries.delay: unknown key'],
  ['retries: { minDelay: 2s, maxDelay: 1s }', 'retries.minDelay: expected at most maxDelay'],
  ['maxAge: 5', 'maxAge: expected a duration'],
  ['maxAge: 25d', 'maxAge: expected at most 24d'],
  ['callback: ftp://a.test/', 'callback: expected a URL that begins with https:// or http://'],
  ['callback: nowhere', 'callback: expected a URL that begins with https:// or http://'],
  ['callback: { url: "file:///etc" }', 'callback.url: expected a URL that begins with'],
  ['callback: { format: xml }', 'callback.format: expected one of envelope, raw, cloudevents'],
  ['callback: { uri: "http://a.test/" }', 'callback.uri: unknown key'],
  ['callback: [a]', 'callback: expected a URL, or a map of url and format, got a list'],
])('%s is a mistake', async (text, expected) => {
  expect(await problemsOf(text)).toEqual([expect.stringContaining(expected)])
})
