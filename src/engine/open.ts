import type Docker from 'dockerode'
import type { ContainerEngineDeps } from './container.ts'
import { createContainerEngine } from './container.ts'
import type { CredentialsOptions } from './credentials.ts'
import { createCredentials } from './credentials.ts'
import type { EndpointOptions } from './endpoint.ts'
import { connectEndpoint, findAddresses, findSocketPath } from './endpoint.ts'
import type { Engine } from './engine.ts'
import type { FilesDeps } from './files.ts'
import { createFiles } from './files.ts'
import { createImages } from './image.ts'
import type { SwarmEngineDeps } from './swarm.ts'
import { createSwarmEngine } from './swarm.ts'
import { createManagers } from './swarm/managers.ts'

export interface EngineOptions
  extends
    Pick<ContainerEngineDeps, 'gatewayId' | 'newId' | 'logger' | 'clock' | 'maxNamespaces'>,
    Pick<FilesDeps, 'secretsFolder' | 'configsFolder'> {
  readonly backend: 'container' | 'swarm'
  /** As DOCKER_HOST names them. None: the standard socket. */
  readonly engineHosts: readonly string[]
  readonly engineCertificates: EndpointOptions['certificates']
  readonly isEngineSecure: boolean
  readonly dockerConfigFile: CredentialsOptions['configFile']
  readonly helperEnvironment: CredentialsOptions['env']
  readonly swarm: Pick<SwarmEngineDeps, 'limits' | 'spool' | 'closedSubnet'>
}

/** What runs calls, and where it is. */
export interface OpenEngine extends AsyncDisposable {
  readonly engine: Engine
  /** Of the engines' sockets on this machine. */
  readonly socketPaths: readonly string[]
  /** Of the engines elsewhere: HOST:PORT. */
  readonly addresses: readonly string[]
}

/** Does not wait for an engine to answer. Throws `engine_unreachable` for what is no address of one. */
export async function openEngine(options: EngineOptions): Promise<OpenEngine> {
  const { logger, clock, engineHosts, swarm } = options
  await using stack = new AsyncDisposableStack()
  const hosts = engineHosts.length > 0 ? engineHosts : [undefined]
  const dockers = hosts.map((host) => {
    const onTrouble = (message: string) => logger.warn({ host, message }, 'ssh has ended')
    const { engineCertificates: certificates, isEngineSecure: isSecure } = options
    const endpoint = connectEndpoint({ host, certificates, isSecure, onTrouble })
    return stack.adopt(endpoint, (it) => it.close()).docker
  })
  const credentials = createCredentials({
    configFile: options.dockerConfigFile,
    env: options.helperEnvironment,
  })
  const openContainers = () => {
    const [docker] = dockers as [Docker]
    const images = stack.adopt(createImages({ docker, credentials, clock }), (it) => it.close())
    return createContainerEngine({
      ...options,
      docker,
      images,
      files: createFiles({ ...options, docker }),
    })
  }
  const engine =
    options.backend === 'swarm'
      ? createSwarmEngine({ ...options, ...swarm, credentials, managers: createManagers(dockers) })
      : openContainers()
  const socketPaths = (await Promise.all(dockers.map(findSocketPath))).flat()
  const addresses = (await Promise.all(dockers.map(findAddresses))).flat()
  const opened = stack.move()
  return { engine, socketPaths, addresses, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}
