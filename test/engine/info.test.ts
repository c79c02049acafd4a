import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Docker from 'dockerode'
import { expect, onTestFinished, test } from 'vitest'
import { readEngineNode } from '../../src/engine/info.ts'

/** An engine that says this of itself. */
async function engineOf(info: object): Promise<Docker> {
  const server = createServer((_incoming, outgoing) => void outgoing.end(JSON.stringify(info)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return new Docker({ host: '127.0.0.1', port, protocol: 'http' })
}

const info = {
  ID: 'DR3N:OYSW',
  Name: 'vm',
  ServerVersion: '20.10.24',
  OperatingSystem: 'Debian GNU/Linux 12 (bookworm)',
  OSType: 'linux',
  Architecture: 'x86_64',
  NCPU: 2,
  MemTotal: 4096,
  Labels: [],
  GenericResources: null,
}
const node = {
  id: 'DR3N:OYSW',
  name: 'vm',
  role: 'standalone',
  isLeader: false,
  availability: 'active',
  state: 'ready',
  engineVersion: '20.10.24',
  os: 'linux',
  architecture: 'x86_64',
  cpus: 2,
  memoryBytes: 4096,
  labels: {},
  genericResources: {},
}

test('an engine by itself is one host', async () => {
  expect(await readEngineNode(await engineOf(info))).toEqual(node)
})

test('labels of a host are a map, and its resources are counted by kind', async () => {
  const docker = await engineOf({
    ...info,
    Labels: ['zone=a', 'spec=a=b', 'bare'],
    GenericResources: [
      { DiscreteResourceSpec: { Kind: 'licence', Value: 3 } },
      { NamedResourceSpec: { Kind: 'gpu', Value: 'UUID1' } },
      { NamedResourceSpec: { Kind: 'gpu', Value: 'UUID2' } },
    ],
  })
  expect(await readEngineNode(docker)).toEqual({
    ...node,
    labels: { zone: 'a', spec: 'a=b', bare: '' },
    genericResources: { licence: 3, gpu: 2 },
  })
})
