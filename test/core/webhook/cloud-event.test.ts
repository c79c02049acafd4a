import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OneshotError } from '../../../src/core/error.ts'
import { readCloudEvents } from '../../../src/core/webhook/cloud-event.ts'
import { answerHandshake } from '../../../src/core/webhook/handshake.ts'
import { toHookHeaders } from '../../../src/core/webhook/request.ts'
import { toRequest } from './sign.ts'

type Headers = [string, string][]

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array | undefined) => data && Buffer.from(data).toString()
const context: Headers = [
  ['ce-specversion', '1.0'],
  ['ce-type', 'com.example.someevent'],
  ['ce-time', '2018-04-05T03:56:24Z'],
  ['ce-id', '1234-1234-1234'],
  ['ce-source', '/mycontext/subcontext'],
]
const attributes = {
  specversion: '1.0',
  type: 'com.example.someevent',
  time: '2018-04-05T03:56:24Z',
  id: '1234-1234-1234',
  source: '/mycontext/subcontext',
}
const jsonType: Headers = [['Content-Type', 'application/json; charset=utf-8']]
const structured: Headers = [['Content-Type', 'application/cloudevents+json; charset=UTF-8']]
const batched: Headers = [['content-type', 'application/cloudevents-batch+json']]
const read = (headers: Headers, body: string | Uint8Array) =>
  readCloudEvents(toRequest(headers, typeof body === 'string' ? bytes(body) : body))

test('an event in binary mode: its attributes are headers, its data the body, byte for byte', () => {
  const [event] = read([...context, ...jsonType], '{ "a": 1 }')
  expect(event).toMatchObject({ id: '1234-1234-1234', source: '/mycontext/subcontext' })
  expect(text(event!.data)).toBe('{ "a": 1 }')
  const datacontenttype = 'application/json; charset=utf-8'
  expect(event!.json).toEqual({ ...attributes, datacontenttype, data: { a: 1 } })
})

test.each<[Headers, string | Uint8Array, object]>([
  [[], '', {}],
  [[['content-type', 'text/plain']], 'ü', { datacontenttype: 'text/plain', data: 'ü' }],
  [
    [['content-type', 'image/png']],
    Uint8Array.of(0x89, 0xff),
    { datacontenttype: 'image/png', data_base64: 'if8=' },
  ],
  [jsonType, 'no JSON', { datacontenttype: jsonType[0]![1], data_base64: 'bm8gSlNPTg==' }],
])('data in binary mode: %j %j', (headers, body, rest) => {
  expect(read([...context, ...headers], body)[0]!.json).toEqual({ ...attributes, ...rest })
})

test("the specification's example of percent-encoding is decoded, and older quoting", () => {
  const of = (value: string) => read([...context, ['ce-note', value]], '')[0]!.json['note']
  expect(of('Euro%20%E2%82%AC%20%F0%9F%98%80')).toBe('Euro € 😀')
  expect(of('%e2%82%ac%41')).toBe('€A')
  expect(of('"a \\"b\\" %20"')).toBe('a "b"  ')
  expect(of('100% %zz')).toBe('100% %zz')
})

test('events in structured and in batched mode', () => {
  const [event] = read(structured, JSON.stringify({ ...attributes, data: { a: 'ü' }, nil: null }))
  expect(text(event!.data)).toBe('{"a":"ü"}')
  expect(event!.json).toEqual({ ...attributes, data: { a: 'ü' } })
  const events = read(
    batched,
    JSON.stringify([
      { ...attributes, id: '1', datacontenttype: 'text/xml', data: '<a/>' },
      { ...attributes, id: '2', data_base64: 'iQ==', flag: true, count: 3 },
      { ...attributes, id: '3', data: 'a text' },
      { ...attributes, id: '4' },
    ]),
  )
  expect(events.map(({ id }) => id)).toEqual(['1', '2', '3', '4'])
  expect(text(events[0]!.data)).toBe('<a/>')
  expect(events[1]!.data).toEqual(Buffer.of(0x89))
  expect(text(events[2]!.data)).toBe('"a text"')
  expect(events[3]!.data).toBeUndefined()
  expect(read(batched, '[]')).toEqual([])
})

const changed = (changes: object) => JSON.stringify({ ...attributes, ...changes })
const header = (name: string, value: string): Headers => [
  ...context.filter(([each]) => each !== name),
  [name, value],
]

test.each<[string, Headers, string | Uint8Array, string]>([
  ['no event at all', jsonType, '{}', 'ce-id is missing'],
  ['no id', context.filter(([name]) => name !== 'ce-id'), '', 'ce-id is missing'],
  ['an empty source', header('ce-source', ''), '', 'ce-source is missing'],
  ['another version', header('ce-specversion', '0.3'), '', 'ce-specversion is not 1.0'],
  ['an id twice', [...context, ['CE-Id', 'x']], '', '"ce-id" is given twice'],
  [
    'two types of content',
    [...context, ...jsonType, ...jsonType],
    '',
    'Content-Type is given twice',
  ],
  ['a type of data beside', header('ce-datacontenttype', 'x/y'), '', 'no place in binary mode'],
  ['data as a header', header('ce-data', 'x'), '', 'no place in binary mode'],
  ["an attribute's name", header('ce-my-thing', 'x'), '', "no attribute's name"],
  ['an overlong encoding', header('ce-x', '%C0%A0'), '', 'not percent-encoded UTF-8'],
  ['a control character', header('ce-id', 'a%0Ab'), '', 'control character'],
  ['a time', header('ce-time', 'yesterday'), '', 'no time as RFC 3339'],
  ['a very long type', header('ce-type', 'x'.repeat(4097)), '', 'too long'],
  ['a format', [['content-type', 'application/cloudevents+avro']], 'x', 'only JSON is taken'],
  ['a body that is no JSON', structured, '{', 'no JSON'],
  ['a body that is no UTF-8', structured, Uint8Array.of(0x22, 0xff, 0x22), 'no JSON'],
  ['a list for one event', structured, '[]', 'an event is an object'],
  ['an event for a batch', batched, changed({}), 'a batch is a list'],
  ['an event of a batch', batched, `[${changed({})},1]`, 'event 1'],
  ['an id of an event', batched, `[${changed({ id: 7 })}]`, 'id of event 0 is missing'],
  ['a batch too long', batched, `[${Array(101).fill('{}').join()}]`, 'at most 100'],
  ['data twice', structured, changed({ data: 1, data_base64: 'AA==' }), 'exclude each other'],
  ['base64', structured, changed({ data_base64: 'AA' }), 'no base64'],
  ['base64 of a number', structured, changed({ data_base64: 1 }), 'no base64'],
  ['a nested attribute', structured, changed({ deep: {} }), 'neither a text nor'],
  ['a fraction', structured, changed({ deep: 1.5 }), 'neither a text nor'],
  ['a lone surrogate', structured, changed({ x: '\ud800' }), 'control character'],
])('%s is refused', (_, headers, body, detail) => {
  expect(() => read(headers, body)).toThrow(OneshotError)
  expect(() => read(headers, body)).toThrow(detail)
})

test('what is written in binary mode is read again', () => {
  const clean = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
    // oxlint-disable-next-line no-control-regex
    .filter((value) => !/[\0-\x1f\x7f-\x9f]/.test(value) && !value.startsWith('\uFEFF'))
  const encode = (value: string) =>
    value.replaceAll(/[^!#-$&-~]/gu, (each) =>
      Array.from(bytes(each), (byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
    )
  fc.assert(
    fc.property(clean, clean, fc.uint8Array(), (id, source, body) => {
      const headers = context.map(([name, value]): [string, string] => [
        name,
        name === 'ce-id' ? encode(id) : name === 'ce-source' ? encode(source) : value,
      ])
      const [event] = read([...headers, ['content-type', 'a/b']], body)
      expect(event).toMatchObject({ id, source })
      expect(event!.data ?? new Uint8Array()).toEqual(body)
    }),
  )
})

test('the handshake allows whoever asks, at the rate that he asks for and may have', () => {
  const answer = (headers: Record<string, string>, perMinute?: number) =>
    answerHandshake(toHookHeaders(Object.entries(headers).flat()), perMinute)
  const asked = { 'WebHook-Request-Origin': 'eventemitter.example.com' }
  const allowed = { allow: 'POST', 'webhook-allowed-origin': 'eventemitter.example.com' }
  expect(answer(asked)).toEqual({ ...allowed, 'webhook-allowed-rate': '*' })
  const rated = { ...asked, 'WebHook-Request-Rate': '120' }
  expect(answer(rated)).toEqual({ ...allowed, 'webhook-allowed-rate': '120' })
  expect(answer(rated, 60)).toEqual({ ...allowed, 'webhook-allowed-rate': '60' })
  expect(answer(asked, 60)).toEqual({ ...allowed, 'webhook-allowed-rate': '60' })
  const odd = { ...asked, 'WebHook-Request-Rate': '0' }
  expect(answer(odd)).toEqual({ ...allowed, 'webhook-allowed-rate': '*' })
  for (const origin of ['', '<b>', 'a b', 'x'.repeat(301), 'a\r\nb']) {
    expect(answer({ 'WebHook-Request-Origin': origin })).toEqual({ allow: 'POST' })
  }
  expect(answer({})).toEqual({ allow: 'POST' })
})
