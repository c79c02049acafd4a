import { expect, test } from 'vitest'
import { parseBytes, parseDuration } from '../../src/core/units.ts'

test.each([
  ['1m30s', 90_000],
  ['500ms', 500],
  ['1.5h', 5_400_000],
  ['2d', 172_800_000],
  ['1us', 1],
  ['0', 0],
  ['0s', 0],
])('the duration %s is %d ms', (text, expected) => {
  expect(parseDuration(text)).toBe(expected)
})

test.each(['', 'soon', '10', '-5s', '5 s', '5s ', 's', '1e3s', '99999999999999999w'])(
  '%j is no duration',
  (text) => {
    expect(parseDuration(text)).toBeUndefined()
  },
)

test.each([
  ['64k', 65_536],
  ['64kb', 65_536],
  ['64KiB', 65_536],
  ['1m', 1_048_576],
  ['1.5g', 1_610_612_736],
  ['100', 100],
  ['100b', 100],
])('the size %s is %d bytes', (text, expected) => {
  expect(parseBytes(text)).toBe(expected)
})

test.each(['', '-1', '1x', 'm', '1e9', '0x10', '99999999999999t'])('%j is no size', (text) => {
  expect(parseBytes(text)).toBeUndefined()
})
