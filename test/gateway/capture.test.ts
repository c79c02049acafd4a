import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createCapture } from '../../src/gateway/capture.ts'

function capture(maxBytes: number, ...chunks: Uint8Array[]) {
  const { write, captured } = createCapture(maxBytes)
  for (const chunk of chunks) void write(chunk)
  return captured()
}

describe('a capture', () => {
  test('gives back what fits, as text if it is UTF-8', () => {
    expect(capture(100, Buffer.from('grüß\0'), Buffer.from(' dich'))).toEqual({
      text: 'grüß\0 dich',
      encoding: 'utf8',
      truncated: false,
    })
  })

  test('gives back other bytes as base64', () => {
    const bytes = Buffer.from([0xff, 0x00, 0xfe])
    expect(capture(100, bytes)).toEqual({
      text: bytes.toString('base64'),
      encoding: 'base64',
      truncated: false,
    })
  })

  test('keeps the first bytes of what is too long, and says so', () => {
    expect(capture(5, Buffer.from('abc'), Buffer.from('defgh'))).toEqual({
      text: 'abcde',
      encoding: 'utf8',
      truncated: true,
    })
  })

  test('that is exactly full is whole', () => {
    expect(capture(3, Buffer.from('abc'), Buffer.alloc(0)).truncated).toBe(false)
  })

  test('does not take text for binary because its cap falls into a character', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1 }),
        fc.nat({ max: 60 }),
        (text, maxBytes) => {
          const bytes = Buffer.from(text)
          const captured = capture(maxBytes, bytes)
          expect(captured.encoding).toBe('utf8')
          expect(bytes.toString().startsWith(captured.text)).toBe(true)
          expect(Buffer.byteLength(captured.text)).toBeGreaterThan(
            Math.min(maxBytes, bytes.length) - 4,
          )
        },
      ),
    )
  })

  test('gives back any bytes whole, however they were cut', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 9000 }), { maxLength: 5 }), (chunks) => {
        const { text, encoding, truncated } = capture(1_000_000, ...chunks)
        expect(truncated).toBe(false)
        const back = Buffer.from(text, encoding === 'base64' ? 'base64' : 'utf8')
        expect(back.equals(Buffer.concat(chunks))).toBe(true)
      }),
    )
  })
})
