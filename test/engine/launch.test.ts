import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Docker from 'dockerode'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { createFiles } from '../../src/engine/files.ts'
import { createImages } from '../../src/engine/image.ts'
import { createLauncher } from '../../src/engine/launch.ts'
import { createNamespaces } from '../../src/engine/namespace.ts'
import { functionSpec } from '../function-spec.ts'

/** A launch by an engine, played by a real server, that refuses to create containers with `status`. */
async function launch(status: number, { endsMeanwhile }: { endsMeanwhile: boolean }) {
  const server = createServer((incoming, outgoing) => {
    const isCreation = incoming.url?.startsWith('/containers/create') ?? false
    if (isCreation && endsMeanwhile) server.close()
    outgoing.writeHead(isCreation ? status : 200).end('{"message":"no such luck"}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const docker = new Docker({ host: '127.0.0.1', port, protocol: 'http' })
  const logger = pino({ level: 'silent' })
  const common = { docker, gatewayId: 'g', logger, clock: Date.now, newId: () => 'id' }
  const credentials = { find: () => Promise.resolve(undefined) }
  const images = createImages({ docker, credentials, clock: Date.now })
  const files = createFiles({ docker, secretsFolder: '/none', configsFolder: '/none' })
  const namespaces = createNamespaces({ ...common, max: 0 })
  const launcher = createLauncher({ ...common, images, files, namespaces })
  const spec = functionSpec()
  const { container } = spec
  const blueprint = { name: 'oneshot-x', spec, container, openStdin: false, held: false }
  return launcher.launch(blueprint, new AbortController().signal)
}

test('what an engine refuses on its way out counts as not reached', async () => {
  await expect(launch(500, { endsMeanwhile: true })).rejects.toMatchObject({
    code: 'engine_unreachable',
  })
})

test.each([400, 500])('what an engine refuses with %i that stays is a refusal', async (status) => {
  const refused = { failure: { code: 'container_refused' } }
  await expect(launch(status, { endsMeanwhile: false })).rejects.toMatchObject(refused)
})
