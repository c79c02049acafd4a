import { access } from 'node:fs/promises'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { eventually } from './containers.ts'
import { findTraces, readNetwork } from './swarm-lab-traces.ts'
import { findObstacle, startSwarmLab } from './swarm-lab.ts'

let obstacle: string | undefined
beforeAll(async () => {
  obstacle = await findObstacle()
})
beforeEach(({ skip }) => {
  if (obstacle !== undefined) skip(obstacle)
})

test('a lab with running tasks, a crashed engine and a machine without power leaves no trace once it is disposed of', async () => {
  const network = await readNetwork()
  await using lab = await startSwarmLab()
  const [first, second, third] = lab.machines
  await first?.docker('network', 'create', '-d', 'overlay', 'reach')
  const service = ['service', 'create', '-q', '--replicas', '6', '--network', 'reach']
  const web = 'echo well met >/tmp/index.html; exec httpd -f -h /tmp'
  const endpoint = ['--endpoint-mode', 'dnsrr', '--name', 'web']
  await first?.docker(...service, ...endpoint, 'busybox:stable', 'sh', '-c', web)
  const inTask = (await second?.docker('ps', '-q'))?.split('\n')[0] ?? ''
  const addresses = async () => (await second?.docker('exec', inTask, 'nslookup', 'web')) ?? ''
  const known = await eventually(
    addresses,
    (found) => found.match(/^Address.* 10\./gm)?.length === 6,
  )
  for (const [, address] of known.matchAll(/^Address.* (10\.[\d.]+)/gm)) {
    const fetched = second?.docker('exec', inTask, 'wget', '-q', '-O', '-', `http://${address}`)
    expect(await fetched, 'tasks of different machines reach each other').toBe('well met')
  }
  const during = await findTraces(lab.folder)
  expect(during.processes.size).toBeGreaterThan(6 + 3 * 2)
  expect(during.namespaces.size).toBeGreaterThan(6 * 5 + 3 * 5)
  expect(during.cgroups.length).toBeGreaterThan(6 + 3)

  await second?.kill()
  await third?.cut()
  await lab[Symbol.asyncDispose]()

  const gone = { processes: new Set(), namespaces: new Set(), cgroups: [], mounts: [] }
  expect(await findTraces(lab.folder, during)).toEqual(gone)
  await expect(access(lab.folder)).rejects.toThrow('ENOENT')
  expect(await readNetwork()).toEqual(network)
}, 120_000)
