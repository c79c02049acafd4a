import { expect, test } from 'vitest'
import { createLogger } from '../src/logger.ts'

function lineOf(record: object): string {
  const lines: string[] = []
  createLogger('info', { write: (line) => void lines.push(line) }).info(record, 'said')
  return lines.join('')
}

test.each([
  [{ authorization: 's3cret' }],
  [{ headers: { Authorization: 's3cret', Cookie: 's3cret', 'x-gitlab-token': 's3cret' } }],
  [{ request: { raw: { headers: { 'STRIPE-SIGNATURE': 's3cret' } } } }],
  [{ spec: { container: { environment: { A: 's3cret' } } } }],
  [{ list: [{ Env: ['A=s3cret'] }, [{ password: 's3cret' }]] }],
  [{ a: { b: { c: { d: { e: { f: { g: 's3cret' } } } } } } }],
  [{ err: Object.assign(new Error('no'), { headers: { authorization: 's3cret' } }) }],
  [{ err: Object.assign(new Error('no'), { options: { env: { A: 's3cret' } } }) }],
])('a line never holds what may be secret: %j', (record) => {
  const line = lineOf(record)
  expect(line).toContain('"msg":"said"')
  expect(line).not.toContain('s3cret')
})

test('a line holds the rest as it is, errors with their causes', () => {
  const err = new Error('no', { cause: new Error('because') })
  const record = { caller: { kind: 'token', name: 'ci' }, at: new Date(0), list: [1, null], err }
  expect(JSON.parse(lineOf(record))).toMatchObject({
    caller: { kind: 'token', name: 'ci' },
    at: '1970-01-01T00:00:00.000Z',
    list: [1, null],
    err: { type: 'Error', message: expect.stringContaining('because') as string },
  })
})
