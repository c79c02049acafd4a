import { expect, test } from 'vitest'
import { parseTimestamp } from '../../../src/core/webhook/timestamp.ts'

test.each([
  ['2021-07-25T10:00:00Z', Date.UTC(2021, 6, 25, 10)],
  ['2021-07-25T12:30:00.123456+02:30', Date.UTC(2021, 6, 25, 10, 0, 0, 123)],
  ['2024-02-29T23:59:59-00:00', Date.UTC(2024, 1, 29, 23, 59, 59)],
])('%s is a time of RFC 3339', (text, at) => {
  expect(parseTimestamp(text, 'iso')).toBe(at)
})

test.each([
  '2023-02-29T00:00:00Z',
  '2021-13-01T00:00:00Z',
  '2021-00-10T00:00:00Z',
  '2021-01-01T24:00:00Z',
  '2021-01-01T00:00:60Z',
  '2021-01-01T00:00:00',
  '2021-01-01 00:00:00Z',
  '2021-01-01T00:00Z',
  '2021-01-01T00:00:00z',
  ' 2021-01-01T00:00:00Z',
  '2021-01-01T00:00:00Z\n',
  '+002021-01-01T00:00:00Z',
  '2021-01-01T00:00:00+25:00',
  '1627207200',
  'Sun, 25 Jul 2021 10:00:00 GMT',
  '',
])('%j is none', (text) => {
  expect(parseTimestamp(text, 'iso')).toBeUndefined()
})

test('seconds and milliseconds are plain digits', () => {
  expect(parseTimestamp('1627207200', 's')).toBe(1_627_207_200_000)
  expect(parseTimestamp('1627207200123', 'ms')).toBe(1_627_207_200_123)
  for (const text of ['', ' 1', '1 ', '1\n', '+1', '-1', '1.5', '1e3', '0x1', '1_0', '１']) {
    expect([parseTimestamp(text, 's'), parseTimestamp(text, 'ms')]).toEqual([undefined, undefined])
  }
})
