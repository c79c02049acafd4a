import { expect, test } from 'vitest'
import { OneshotError } from '../../src/core/error.ts'
import { toStoreError } from '../../src/store/failure.ts'

const fail = (facts: object) => Object.assign(new Error('what was said'), facts)

test.each([
  [{ errcode: 13 }, 'storage_full'],
  [{ code: 'ENOSPC', syscall: 'mkdir' }, 'storage_full'],
  [{ code: 'EDQUOT', syscall: 'mkdir' }, 'storage_full'],
  [{ errcode: 5 }, 'data_locked'],
  [{ errcode: 8 }, 'data_unusable'],
  // SQLITE_READONLY_DIRECTORY: an extended code.
  [{ errcode: 8 | (6 << 8) }, 'data_unusable'],
  [{ errcode: 10 | (3 << 8) }, 'data_unusable'],
  [{ errcode: 11 }, 'data_unusable'],
  [{ errcode: 26 }, 'data_unusable'],
  [{ code: 'EROFS', syscall: 'mkdir' }, 'data_unusable'],
])('%o is told as %s, and its cause is kept', (facts, code) => {
  const error = fail(facts)
  expect(toStoreError(error, '/data')).toMatchObject({ code, cause: error })
})

test('what is no fault of the folder stays what it is', () => {
  const CONSTRAINT = 19
  for (const error of [
    fail({ errcode: CONSTRAINT }),
    new TypeError('a fault'),
    new OneshotError('storage_full', 'as told before'),
    'thrown',
  ]) {
    expect(toStoreError(error, '/data')).toBe(error)
  }
})
