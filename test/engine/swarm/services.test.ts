import { pino } from 'pino'
import { expect, test } from 'vitest'
import type { ManagerRequest } from '../../../src/engine/swarm/managers.ts'
import { createServices } from '../../../src/engine/swarm/services.ts'

/** A swarm of one service, whose version the managers hold updates to. */
function start() {
  const service = {
    ID: 's',
    Version: { Index: 1 },
    Spec: { TaskTemplate: {}, Mode: { Replicated: { Replicas: 0 } } },
  }
  /** What happens behind an answer. */
  let afterwards = () => {}
  const update = (version: number, spec: typeof service.Spec) => {
    if (version !== service.Version.Index) {
      throw Object.assign(new Error('update out of sequence'), { statusCode: 500 })
    }
    service.Spec = spec
    service.Version.Index += 1
  }
  const services = createServices({
    managers: {
      async ask({ method, path, body }: ManagerRequest) {
        if (method === 'POST') {
          update(Number(/version=(\d+)/.exec(path)?.[1]), body as typeof service.Spec)
          return undefined
        }
        const answer = structuredClone(service)
        afterwards()
        return answer
      },
    } as never,
    gatewayId: 'g',
    credentials: undefined as never,
    inputs: undefined as never,
    logger: pino({ level: 'silent' }),
  })
  return {
    services,
    /** As a former process asked for, when it knew this version. */
    startFrom(version: number) {
      update(version, { ...service.Spec, Mode: { Replicated: { Replicas: 1 } } })
    },
    after(act: () => void) {
      afterwards = () => {
        afterwards = () => {}
        act()
      }
    },
  }
}

test('what was found not to be started is not started by a request that comes late', async () => {
  const { services, startFrom } = start()
  expect(await services.withhold('oneshot-i')).toEqual({ id: 's', isStarted: false })
  expect(() => startFrom(1)).toThrow('out of sequence')
})

test('what is started just as it is looked for is told of as started', async () => {
  const { services, startFrom, after } = start()
  after(() => startFrom(1))
  expect(await services.withhold('oneshot-i')).toEqual({ id: 's', isStarted: true })
})

test('inputs are not listed again once what a former process left is gone', async () => {
  const paths: string[] = []
  const named = (Name: string) => ({
    Spec: { Name, Labels: { 'oneshot.invocation': Name.slice('oneshot-'.length) } },
  })
  const services = createServices({
    managers: {
      async ask({ method, path }: ManagerRequest) {
        const what = `${method} ${path.split('?')[0]}`
        paths.push(what)
        return what === 'GET /configs' ? [named('oneshot-left'), named('oneshot-live')] : []
      },
    } as never,
    gatewayId: 'g',
    credentials: undefined as never,
    inputs: { put: undefined as never, list: async () => [], remove: async () => {} },
    logger: pino({ level: 'silent' }),
  })
  expect(await services.sweep((id) => id === 'live')).toBe(1)
  expect(await services.sweep((id) => id === 'live')).toBe(0)
  expect(paths).toEqual([
    'GET /services',
    'GET /configs',
    'DELETE /services/oneshot-left',
    'DELETE /configs/oneshot-left',
    'GET /services',
  ])
})
