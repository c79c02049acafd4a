import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { docker } from '../docker/docker-client.ts'
import type { Gateway } from './gateway.ts'
import { engine, nothingLeft, shell, startGateway } from './gateway.ts'
import type { PageServer } from './page-server.ts'
import { startPageServer } from './page-server.ts'

const networks = ['a', 'b'].map((name) => `oneshot-test-${name}-${process.pid}`)
const server = `oneshot-test-server-${process.pid}`

const define = (address: string) => {
  const fetch = (host: string) =>
    `timeout 5 wget -q -O - http://${host}/cgi-bin/page 2>&1 || echo none`
  // Not wget -T: the static one of Debian 12 crashes on it.
  return {
    bridge: shell(fetch(address)).replace('network_mode: none', 'network_mode: bridge'),
    default: shell(fetch(address)).replace('network_mode: none\n', ''),
    host: shell(fetch(address)).replace('network_mode: none', 'network_mode: host'),
    none: shell(`${fetch(address)}; ${fetch(server)}`),
    local: shell('echo hi | nc -l -p 9999 & sleep 0.5; nc 127.0.0.1 9999 </dev/null'),
    listen: shell("ip -o -4 addr show eth0 | sed 's#.*inet ##; s#/.*##'; echo hi | nc -l -p 9999"),
    dial: shell(
      'timeout 5 nc "$address" 9999 </dev/null',
      'parameters: { address: { type: string } }',
    ),
    // A swarm tells a task's names to its network a moment after its start.
    joined: shell(
      `ip -o -4 addr; hostname; ${fetch(server)}; for i in $(seq 50); do timeout 5 wget http://worker:1/ 2>&1 | grep Connecting && break; sleep 0.1; done`,
      `networks: { ${networks[0]}: { aliases: [worker] }, ${networks[1]}: {} }\nhostname: named\n`,
    ).replace('network_mode: none\n', ''),
    absent: 'image: busybox:stable\nnetworks: [oneshot-test-absent]\n',
  }
}

let gateway: Gateway
let pages: PageServer
beforeAll(async () => {
  pages = await startPageServer(server, 'page of HOST\n')
  for (const [index, network] of networks.entries()) {
    const options = engine === 'swarm' ? ['--driver=overlay', '--attachable'] : []
    await docker('network', 'create', ...options, `--subnet=10.21${index}.7.0/24`, network)
  }
  await pages.join(networks[0]!)
  const functions = define(pages.address)
  gateway = await startGateway({ functions, env: { ONESHOT_ALLOW: 'host-network' } })
})
afterAll(async () => {
  await gateway?.stop()
  await nothingLeft()
  await pages?.[Symbol.asyncDispose]()
  for (const network of networks) await docker('network', 'rm', network)
})

describe.concurrent('a network', () => {
  test.each(['bridge', 'default', 'host'])(
    'leads to what the host can reach (%s)',
    async (name) => {
      expect((await gateway.envelope(name)).stdout).toBe(`page of ${pages.address}\n`)
    },
  )

  test('of none leads nowhere', async () => {
    const { stdout } = await gateway.envelope('none')
    expect(stdout).toMatch(/^wget: .*\nnone\nwget: .*\nnone\n$/)
  })

  test('of none has a loopback', async () => {
    expect((await gateway.envelope('local')).stdout).toBe('hi\n')
  })

  // No service can be without a network: there is one that leads nowhere, for all of a gateway's tasks.
  test('of none lets tasks of a swarm reach each other', async ({ skip }) => {
    skip(engine !== 'swarm', 'only a swarm is like that')
    const headers = { Accept: 'text/event-stream' }
    const listening = await gateway.call('listen', { headers })
    const reader = listening.body!.pipeThrough(new TextDecoderStream()).getReader()
    const [, address = ''] = /data: (.*)/.exec((await reader.read()).value ?? '') ?? []
    expect(await gateway.envelope('dial', { query: { address } })).toMatchObject({ stdout: 'hi\n' })
    await reader.cancel()
  })

  test('is joined beside others, with aliases, and names in it are found', async () => {
    const { stdout } = await gateway.envelope('joined')
    expect(stdout).toMatch(/ 10\.210\.7\.\d+\/24 /)
    expect(stdout).toMatch(/ 10\.211\.7\.\d+\/24 /)
    expect(stdout).toContain('\nnamed\n')
    expect(stdout).toContain(`\npage of ${server}\n`)
    expect(stdout).toMatch(/Connecting to worker:1 \(10\.210\.7\.\d+:1\)/)
  })

  test('that is not there keeps the command from starting', async () => {
    const { reason, error } = await gateway.envelope('absent')
    expect([reason, error?.code]).toEqual(['not_started', 'container_refused'])
    expect(error?.detail).toContain('oneshot-test-absent')
  })
})
