import type Docker from 'dockerode'
import type { Logger } from 'pino'
import type { ContainerSpec } from '../core/function.ts'
import type { Mount } from '../core/mount.ts'
import { ANSWER_MS, ask } from './docker.ts'
import { GATE } from './gate.ts'
import { toContainerName, toLabels } from './labels.ts'

/** A network namespace with nothing but loopback, lent to one container at a time. */
export interface Namespace {
  /** The name of the container that holds it. */
  readonly holder: string
  readonly networkMode: string
  /** The files that go with it, read-only: what one container wrote there the next would read. */
  readonly mounts: readonly Mount[]
  /** Its container is gone: another may have it. */
  release(): void
  /** It can't be used again. */
  drop(): void
  /** Whether its holder still runs. */
  isHeld(): Promise<boolean>
}

export interface NamespacesDeps {
  readonly docker: Docker
  readonly gatewayId: string
  /** The most that there are at once; 0: none is made ahead. */
  readonly max: number
  readonly newId: () => string
  readonly logger: Logger
  readonly clock: () => number
}

export interface Namespaces {
  /** One that is free now, if this container may share one. If none is free, one more is made for later calls. */
  acquire(container: ContainerSpec): Namespace | undefined
  isLive(containerName: string): boolean
  /** Its holder has ended. */
  forget(containerName: string): void
  close(): Promise<void>
}

/** As many at once: fewer would take long beside the calls that lack them. */
const MAX_MAKING = 4
/** After a failure none is made for so long. */
const RETRY_MS = 5_000
/** Capabilities with which a container could change its namespace, or get into another. */
const HARMLESS = new Set(['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'SETGID', 'SETUID'])

/**
 * Makes network namespaces ahead, since that is half of what a container's start costs. Each is held by a container of
 * its own that does nothing.
 */
export function createNamespaces(deps: NamespacesDeps): Namespaces {
  const { docker, gatewayId, max, newId, logger, clock } = deps
  let free: Namespace[] = []
  const names = new Set<string>()
  const making = new Set<Promise<void>>()
  let notBefore = 0
  let closed = false

  function acquire(container: ContainerSpec): Namespace | undefined {
    if (max === 0 || !mayShare(container)) return undefined
    const namespace = free.pop()
    const mayMake = making.size < MAX_MAKING && names.size < max && clock() >= notBefore
    if (!namespace && mayMake && !closed) {
      const made = make(container.image).finally(() => making.delete(made))
      making.add(made)
    }
    return namespace
  }

  async function make(image: string): Promise<void> {
    const name = toContainerName(`namespace-${newId()}`)
    names.add(name)
    try {
      await toEngine('POST', `create?name=${name}`, toBody(image))
      await toEngine('POST', `${name}/start`)
      const holder = (await toEngine('GET', `${name}/json`)) as Docker.ContainerInspectInfo
      const { Id, HostsPath, HostnamePath, ResolvConfPath } = holder
      const files = { hosts: HostsPath, hostname: HostnamePath, 'resolv.conf': ResolvConfPath }
      let dropped = false
      const namespace: Namespace = {
        holder: name,
        networkMode: `container:${Id}`,
        mounts: Object.entries(files).map(([file, source]) => toMount(source, `/etc/${file}`)),
        release: () => {
          if (!dropped) free.push(namespace)
        },
        drop: () => {
          if (dropped) return
          dropped = true
          forget(name)
          void remove(name)
        },
        isHeld: () => isRunning(name),
      }
      // Else `close` waits for this, and removes it.
      if (!closed) free.push(namespace)
    } catch (error) {
      logger.warn({ err: error }, 'making a network namespace ahead failed')
      notBefore = clock() + RETRY_MS
      await remove(name)
    }
  }

  function toBody(image: string): Docker.ContainerCreateOptions {
    return {
      Image: image,
      // The gate waits for a line that never comes.
      Entrypoint: [...GATE],
      Cmd: [],
      User: '65534:65534',
      OpenStdin: true,
      Healthcheck: { Test: ['NONE'] },
      Labels: toLabels({ gatewayId }),
      HostConfig: {
        NetworkMode: 'none',
        CapDrop: ['ALL'],
        SecurityOpt: ['no-new-privileges'],
        ReadonlyRootfs: true,
        PidsLimit: 8,
        LogConfig: { Type: 'none', Config: {} },
      },
    }
  }

  function toEngine(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: object,
  ): Promise<unknown> {
    const question = { method, path: `/containers/${path}`, withinMs: ANSWER_MS }
    return ask(docker, { ...question, ...(body && { body }) })
  }

  async function isRunning(name: string): Promise<boolean> {
    const holder = (await toEngine('GET', `${name}/json`).catch(() => undefined)) as
      | Docker.ContainerInspectInfo
      | undefined
    return holder?.State.Running === true
  }

  async function remove(name: string): Promise<void> {
    // What can't be removed now is left to the sweep.
    await toEngine('DELETE', `${name}?force=1&v=1`).catch(() => {})
    names.delete(name)
  }

  function forget(name: string): void {
    free = free.filter(({ holder }) => holder !== name)
    names.delete(name)
  }

  return {
    acquire,
    isLive: (name) => names.has(name),
    forget,
    async close() {
      closed = true
      await Promise.all(making)
      free.length = 0
      await Promise.all([...names].map(remove))
    },
  }
}

function toMount(source: string, target: string): Mount {
  return { type: 'bind', source, target, readOnly: true, createHostPath: false }
}

/** Only what can neither change the namespace nor ask for something that is set on it. */
function mayShare(container: ContainerSpec): boolean {
  const capabilities = container.capAdd.map((name) => name.toUpperCase().replace(/^CAP_/, ''))
  return (
    container.networkMode === 'none' &&
    !container.privileged &&
    container.capDrop.some((name) => name.toUpperCase() === 'ALL') &&
    capabilities.every((name) => HARMLESS.has(name)) &&
    container.pid === undefined &&
    container.hostname === undefined &&
    [container.dns, container.dnsSearch, container.dnsOptions, container.extraHosts].every(
      (list) => list.length === 0,
    ) &&
    Object.keys(container.sysctls).every((name) => !name.startsWith('net.')) &&
    container.mounts.every(({ target }) => target !== '/etc' && !target.startsWith('/etc/'))
  )
}
