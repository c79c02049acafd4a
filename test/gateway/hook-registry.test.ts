import { pino } from 'pino'
import { describe, expect, test } from 'vitest'
import type { CatalogEntry } from '../../src/gateway/catalog-entry.ts'
import { createHookRegistry } from '../../src/gateway/hook-registry.ts'
import { functionSpec } from '../function-spec.ts'
import { webhook } from './webhook.ts'

const specOf = (name: string, hooks: readonly string[]) =>
  functionSpec({ name, triggers: hooks.map((hook) => webhook({ name: hook })) })

const entry = (
  name: string,
  hooks: readonly string[],
  origin: CatalogEntry['origin'] = 'file',
): CatalogEntry => {
  const spec = specOf(name, hooks)
  const ready = { name, state: 'ready', spec, source: {}, warnings: [] } as const
  return origin === 'file'
    ? { ...ready, origin, file: `${name}.yml` }
    : { ...ready, origin, updatedAt: 1, updatedBy: 'ci', etag: '"1"' }
}

function setUp(...entries: CatalogEntry[]) {
  const logs: unknown[] = []
  const logger = pino({}, { write: (line) => void logs.push(JSON.parse(line)) })
  const registry = createHookRegistry({ catalog: { list: () => entries }, logger })
  return { registry, logs, entries }
}

describe('webhooks', () => {
  test('are found by their names, and anew when definitions have changed', () => {
    const { registry, entries } = setUp(entry('build', ['deploy', 'check']))
    expect(registry.get('deploy')).toMatchObject({ name: 'deploy', spec: { name: 'build' } })
    expect(registry.list().map(({ name }) => name)).toEqual(['check', 'deploy'])
    entries[0] = entry('other', ['deploy'])
    registry.changed()
    expect(registry.get('deploy')).toMatchObject({ spec: { name: 'other' } })
    expect(() => registry.get('check')).toThrow('no such webhook')
  })

  test('of a definition that is broken for now are to be tried again, until it is mended or gone', () => {
    const { registry, entries } = setUp(entry('build', ['deploy', 'check']))
    registry.list()
    const file = 'build.yml'
    const name = 'build'
    entries[0] = { name, origin: 'file', file, state: 'broken', problems: [], warnings: [] }
    entries[1] = entry('other', ['check'])
    for (let times = 0; times < 2; times += 1) {
      registry.changed()
      const broken = expect.objectContaining({ code: 'function_broken' })
      expect(() => registry.get('deploy')).toThrow(broken)
      expect(registry.get('check')).toMatchObject({ spec: { name: 'other' } })
    }
    entries[0] = entry('build', ['deploy'])
    registry.changed()
    expect(registry.get('deploy')).toMatchObject({ spec: { name: 'build' } })
    entries.shift()
    registry.changed()
    expect(() => registry.get('deploy')).toThrow('no such webhook')
  })

  test.each(['nope', '', '__proto__', '../x'])('have no %j', (name) => {
    const { registry } = setUp(entry('build', ['deploy']))
    expect(() => registry.get(name)).toThrow(expect.objectContaining({ code: 'hook_not_found' }))
  })

  test('of two files with one name are both not served, which is told once', () => {
    const { registry, logs } = setUp(entry('a', ['deploy']), entry('b', ['deploy', 'b']))
    expect(() => registry.get('deploy')).toThrow('Several functions')
    expect(registry.get('b')).toMatchObject({ spec: { name: 'b' } })
    registry.changed()
    expect(registry.list()).toMatchObject([
      { name: 'b', others: [], isServed: true },
      { name: 'deploy', others: ['b'], isServed: false },
      { name: 'deploy', others: ['a'], isServed: false },
    ])
    expect(logs).toMatchObject([{ hook: 'deploy', functions: ['a', 'b'], servedBy: null }])
  })

  test('of a file come before those that were deployed', () => {
    const { registry } = setUp(entry('a', ['deploy'], 'api'), entry('b', ['deploy']))
    expect(registry.get('deploy')).toMatchObject({ spec: { name: 'b' } })
    expect(registry.list().map(({ isServed }) => isServed)).toEqual([false, true])
  })

  test('that another function has already are in conflict; its own are not', () => {
    const { registry } = setUp(entry('a', ['deploy']))
    expect(registry.findConflict(specOf('b', ['check', 'deploy']))).toContain(
      'The function a has a webhook deploy already',
    )
    expect(registry.findConflict(specOf('a', ['deploy']))).toBeUndefined()
  })

  test('of definitions that can not be used are none', () => {
    const broken = { name: 'x', state: 'broken', problems: [], warnings: [] } as const
    const { registry } = setUp({ ...broken, origin: 'file', file: 'x.yml' })
    expect(registry.list()).toEqual([])
  })
})
