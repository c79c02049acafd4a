import { hostname } from 'node:os'
import { v7 as newId } from 'uuid'
import packageJson from '../package.json' with { type: 'json' }
import { checkExposure } from './access/exposure.ts'
import { openAccess } from './access/open.ts'
import { AccessProblem } from './access/problem.ts'
import { ConfigError, readConfig } from './config.ts'
import type { Config } from './config.ts'
import { parseAllowList } from './core/callback-target.ts'
import { OneshotError } from './core/error.ts'
import { openEngine } from './engine/open.ts'
import { withinMs } from './engine/stop.ts'
import { createAdmission } from './gateway/admission.ts'
import { createCatalog } from './gateway/catalog.ts'
import { logChange } from './gateway/catalog-log.ts'
import { startCleaner } from './gateway/clean.ts'
import { readDeployPolicy } from './gateway/deploy-policy-file.ts'
import { createDeployed } from './gateway/deployed.ts'
import { createGateway } from './gateway/gateway.ts'
import { createMetrics } from './gateway/metrics.ts'
import { createScheduler } from './gateway/schedule.ts'
import { startSweeper } from './gateway/sweep.ts'
import { startWarmer } from './gateway/warm.ts'
import { createApp } from './http/app.ts'
import { listen } from './http/server.ts'
import { createLogger } from './logger.ts'
import { readCallbackSecrets } from './outgoing/secret.ts'
import { createSender } from './outgoing/send.ts'
import { createSpool } from './store/spool.ts'
import { openSqliteStore } from './store/sqlite.ts'

/** Wherever they are: who speaks to an engine rules its host. */
const DOCKER_PORTS = parseAllowList(
  ['2375', '2376', '2377'].map((port) => `0.0.0.0/0:${port} [::/0]:${port}`).join(' '),
).rules
/** How long the removal of the last containers may take. */
const CLEANUP_MS = 20_000
/** How long the start waits for the engine's word on which folders are its own. */
const ENGINE_WAIT_MS = 5_000
/** How soon an engine that was not reachable at the start is asked again. */
const ENGINE_RETRY_MS = 5_000
/** How long a client may take to read the last of its answer. */
const LINGER_MS = 5_000

async function main(config: Config): Promise<void> {
  // From the first moment on: a signal during the start ends in good order too.
  const ending = firstSignal('SIGTERM', 'SIGINT')
  const logger = createLogger(config.logLevel)
  const clock = Date.now
  await using stack = new AsyncDisposableStack()
  // At the very end, of a start that has failed as well: what runs on without us, such as timers, would hold us back.
  stack.defer(() => void setImmediate(() => process.exit()))

  const access = stack.use(
    await openAccess({
      ...config,
      clock,
      onChange: (keys) => logger.info({ keys }, 'API keys read anew'),
      onProblem: (problem) =>
        logger.error(
          { problem: problem.message },
          "the new API keys can't be used; the former hold",
        ),
      onTrouble: (error) => logger.warn({ err: error }, "the keys of tokens can't be fetched"),
    }),
  )
  const exposure = checkExposure(config, access.authenticator.isOpen)
  if (exposure !== undefined) logger.warn(exposure)

  const store = stack.adopt(
    await blaming('ONESHOT_DATA', () => openSqliteStore({ folder: config.dataFolder, newId })),
    (it) => it.close(),
  )
  const spool = createSpool({ folder: config.dataFolder, clock })
  const { engine, socketPaths, addresses } = stack.use(
    await openEngine({ ...config, gatewayId: store.gatewayId, newId, logger, clock }),
  )

  let onDefinitions = (): void => {}
  const deployed = createDeployed({
    store: store.functions,
    policy: await blaming('ONESHOT_DEPLOY_POLICY', () =>
      readDeployPolicy(config.deployPolicyFile, {
        defaults: config.definitions.defaults,
        secretsFolder: config.secretsFolder,
      }),
    ),
    findConflict: (spec) => gateway.hooks.findConflict(spec),
    clock,
    logger,
  })
  const catalog = createCatalog({
    folder: config.functionsFolder,
    deployed,
    settings: {
      ...config.definitions,
      dockerSocketPaths: ['/var/run/docker.sock', ...socketPaths],
      engineFolders: [],
    },
    onChange(event) {
      logChange(logger, event)
      onDefinitions()
    },
  })
  await blaming('ONESHOT_FUNCTIONS', () => catalog.start())
  stack.adopt(catalog, (it) => it.close())

  const admission = createAdmission(config)
  const warmer = startWarmer({
    engine,
    list: () => catalog.list().flatMap((entry) => (entry.state === 'ready' ? entry.spec : [])),
    budget: config.maxArmed,
    clock,
  })
  const metrics = createMetrics({ engine, admission })
  const engineRules = parseAllowList(addresses.join(' ')).rules
  const callbackRules = { ...config.callbacks, denied: [...DOCKER_PORTS, ...engineRules] }
  const sender = stack.adopt(createSender(callbackRules), (it) => it.close())
  const gateway = createGateway({
    engine,
    store,
    spool,
    admission,
    async send(request) {
      const { headers, ...answered } = await sender.send(request)
      return { ...answered, ...headers }
    },
    secrets: await blaming('ONESHOT_CALLBACK_SECRETS', () =>
      readCallbackSecrets(config.callbackSecretsFile, config.dataFolder),
    ),
    catalog,
    maxQueued: config.backlog,
    newId,
    clock,
    random: Math.random,
    node: hostname(),
    logger,
    observer: {
      called: warmer.called,
      settled(invocation) {
        metrics.settled(invocation)
        const { id, functionName, state, start, outcome } = invocation
        logger.info(
          { invocation: id, function: functionName, state, start, ...outcome },
          'call ended',
        )
      },
      refused: ({ name }, error) => metrics.refused(name, error),
    },
  })
  const scheduler = createScheduler({
    catalog,
    store,
    acceptor: gateway.acceptor,
    observer: metrics,
    newId,
    clock,
    logger,
  })
  onDefinitions = () => {
    gateway.wake()
    scheduler.wake()
  }
  await gateway.start()
  await scheduler.start()
  const sweeper = startSweeper({
    engine,
    isLive: gateway.live.has,
    intervalMs: config.sweepIntervalMs,
    logger,
  })
  const cleaner = startCleaner({ store, spool, clock, logger, ...config.retention })

  const stopping = new AbortController()
  const app = createApp({
    ...gateway,
    catalog,
    deployer: deployed,
    callbackRules,
    metrics,
    ...config,
    authenticator: access.authenticator,
    listSchedules: scheduler.list,
    findColdReason: engine.findColdReason,
    async ping() {
      const { warnings, ...info } = await engine.ping()
      return { ...info, warnings: exposure === undefined ? warnings : [exposure, ...warnings] }
    },
    findImageDigest: engine.findImageDigest,
    isClosing: () => stopping.signal.aborted,
    newId,
    clock,
    version: packageJson.version,
    logger,
  })
  await Promise.race([withinMs(describeEngine(), ENGINE_WAIT_MS), ending])
  const listener = await blaming('ONESHOT_HOST or ONESHOT_PORT', () =>
    listen(app, config.host, config.port),
  )
  logger.info({ url: listener.url, functions: catalog.list().length }, 'listening')

  const signal = await ending
  logger.info({ signal, boundMs: config.shutdownMs }, 'shutting down')
  stopping.abort()
  listener.refuse()
  await scheduler.close()
  await gateway.close(config.shutdownMs)
  await listener.close(LINGER_MS)
  sweeper.close()
  cleaner.close()
  warmer.close()
  await withinMs(
    engine.close().then(() => sweeper.sweep()),
    CLEANUP_MS,
  )
  logger.info({ handedOver: !gateway.live.isIdle() }, 'stopped')
  // Whatever still hangs on, such as a request to an engine that does not answer, is not waited for.
  setTimeout(() => process.exit(), CLEANUP_MS).unref()

  /** Not reaching the engine is not fatal: it may come up after us. */
  async function describeEngine(told = false): Promise<void> {
    try {
      const { warnings, ...info } = await engine.ping()
      logger.info({ engine: info }, 'engine reachable')
      for (const warning of warnings) logger.warn(warning)
      if (info.dataRoot !== undefined) await catalog.update({ engineFolders: [info.dataRoot] })
    } catch (error) {
      if (!told) logger.warn({ err: error }, 'engine not reachable yet; asking on')
      // Until it answers: only it can tell which folders are its own.
      setTimeout(() => void describeEngine(true), ENGINE_RETRY_MS).unref()
    }
  }
}

/** The first one asks to end in good order; a second one, as with an impatient Ctrl-C, ends at once. */
async function firstSignal(...signals: NodeJS.Signals[]): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  for (const signal of signals) process.once(signal, resolve)
  const signal = await promise
  for (const other of signals) process.removeListener(other, resolve)
  return signal
}

/** What the system does not let us start is told as a wrong setting. */
async function blaming<T>(setting: string, start: () => T | Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    if (error instanceof OneshotError || !isFromSystem(error)) throw error
    throw new ConfigError(`${setting} can't be used: ${error.message}`, { cause: error })
  }
}

/** From a call to the system, or from SQLite, or on account of one. */
function isFromSystem(error: unknown): error is Error {
  if (!(error instanceof Error)) return false
  return 'syscall' in error || 'errcode' in error || isFromSystem(error.cause)
}

try {
  // A copy: definitions may name any of it, as may the programs that keep credentials.
  const config = readConfig({ ...process.env })
  // Else dockerode would read it for itself, which can't make anything of a list.
  delete process.env['DOCKER_HOST']
  await main(config)
} catch (error) {
  // What the operator can put right is told in a line; anything else with all that is known.
  if (
    error instanceof ConfigError ||
    error instanceof OneshotError ||
    error instanceof AccessProblem
  ) {
    console.error(`oneshot: ${error.message}`)
  } else {
    console.error(error)
  }
  process.exitCode = 1
}
