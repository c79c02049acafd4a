import { describe, expect, it } from 'vitest'
import { isImageId, parseReference } from '../../src/core/reference.ts'

const digest = `sha256:${'0123456789abcdef'.repeat(4)}`

describe('an image is named as Docker reads it', () => {
  it.each([
    ['busybox', { registry: 'docker.io', repository: 'library/busybox' }],
    ['busybox:1.36', { registry: 'docker.io', repository: 'library/busybox', tag: '1.36' }],
    ['team/app', { registry: 'docker.io', repository: 'team/app' }],
    ['docker.io/app', { registry: 'docker.io', repository: 'library/app' }],
    ['index.docker.io/team/app', { registry: 'docker.io', repository: 'team/app' }],
    ['localhost/app', { registry: 'localhost', repository: 'app' }],
    ['localhost:5000/app:v1', { registry: 'localhost:5000', repository: 'app', tag: 'v1' }],
    ['Host/app', { registry: 'Host', repository: 'app' }],
    ['[::1]:5000/a/b', { registry: '[::1]:5000', repository: 'a/b' }],
    ['ghcr.io/a/b/c:x', { registry: 'ghcr.io', repository: 'a/b/c', tag: 'x' }],
    ['a.b/c__d/e--f.g', { registry: 'a.b', repository: 'c__d/e--f.g' }],
    [`a.b/c@${digest}`, { registry: 'a.b', repository: 'c', digest }],
    [`a.b:1/c:t@${digest}`, { registry: 'a.b:1', repository: 'c', tag: 't', digest }],
  ])('%s', (image, reference) => {
    expect(parseReference(image)).toEqual(reference)
  })
})

describe('what no image can be called is refused', () => {
  it.each([
    '',
    ':tag',
    'Busybox',
    'a.b/Team/app',
    'app:',
    'app:a b',
    'app?x=y',
    'app#x',
    '../containers/json',
    'a.b/../../c',
    'a.b/c/',
    'a.b//c',
    '/app',
    'https://a.b/c',
    '-a.b/c',
    'app@',
    'app@sha256:abc',
    `app@${digest}@${digest}`,
    `app:${'t'.repeat(129)}`,
    'a'.repeat(256),
    digest,
    digest.slice('sha256:'.length),
    'app\n',
  ])('%j', (image) => {
    expect(() => parseReference(image)).toThrow(
      expect.objectContaining({ code: 'image_not_found' }),
    )
  })
})

it('only a whole id is taken for an id', () => {
  expect(isImageId(digest)).toBe(true)
  expect(isImageId(digest.slice('sha256:'.length))).toBe(true)
  expect(isImageId('0123456789ab')).toBe(false)
  expect(isImageId(`${digest}0`)).toBe(false)
})
