import { describe, expect, test } from 'vitest'
import { negotiate } from '../../src/http/negotiate.ts'

const json = 'application/json'
const octets = 'application/octet-stream'

describe('of the forms of an answer', () => {
  test.each([
    [undefined, octets],
    ['', octets],
    ['*/*', octets],
    ['text/html, application/xhtml+xml, */*;q=0.8', octets],
    ['application/json', json],
    ['APPLICATION/JSON', json],
    ['application/*', json],
    ['text/*', 'text/plain'],
    ['text/plain, application/json', 'text/plain'],
    ['application/json, text/plain, */*', json],
    ['text/plain;q=0.5, application/json', json],
    ['*/*, text/event-stream', 'text/event-stream'],
    ['text/*, text/plain;q=0.1', 'text/event-stream'],
    ['application/octet-stream;q=0, */*', json],
    ['application/*;q=0, */*', 'text/plain'],
  ])('Accept: %s gets %s where the definition says raw', (accept, form) => {
    expect(negotiate(accept, octets)).toBe(form)
  })

  test.each(['image/png', 'application/json;q=0', '*/*;q=0', 'application/xml, text/html'])(
    'none fits Accept: %s, which is told what there is',
    (accept) => {
      expect(() => negotiate(accept, json)).toThrow(
        expect.objectContaining({
          code: 'not_acceptable',
          message: expect.stringContaining('text/event-stream') as string,
        }),
      )
    },
  )
})
