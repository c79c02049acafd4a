import { expect, test } from 'vitest'
import { checkExposure } from '../../src/access/exposure.ts'

test.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost'])('%s is served without keys', (host) => {
  expect(checkExposure({ host, isInsecure: false }, true)).toBeUndefined()
})

test.each(['0.0.0.0', '::', '10.0.0.1', 'gateway'])(
  '%s is not, unless the operator says so, of which is warned',
  (host) => {
    expect(() => checkExposure({ host, isInsecure: false }, true)).toThrow(
      /anyone could call.*ONESHOT_API_KEYS_FILE.*ONESHOT_INSECURE=true/,
    )
    expect(checkExposure({ host, isInsecure: true }, true)).toMatch(/^ONESHOT_INSECURE: /)
    expect(checkExposure({ host, isInsecure: false }, false)).toBeUndefined()
    expect(checkExposure({ host, isInsecure: true }, false)).toBeUndefined()
  },
)
