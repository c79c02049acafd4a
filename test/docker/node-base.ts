import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { docker } from './docker-client.ts'

const run = promisify(execFile)
const certificates = '/etc/ssl/certs/ca-certificates.crt'

/**
 * Builds a stand-in for the official Node image, for engines that can pull none: this machine's Node and npm, and the
 * libraries that they load, on busybox. It knows this machine's registry and certificates: not for publishing.
 */
export async function buildNodeBase(tag: string): Promise<void> {
  const context = await mkdtemp(join(tmpdir(), 'oneshot-node-base-'))
  const put = async (source: string, target: string): Promise<void> => {
    await mkdir(join(context, 'root', dirname(target)), { recursive: true })
    await cp(await realpath(source), join(context, 'root', target), { recursive: true })
  }
  try {
    await put(process.execPath, '/usr/local/bin/node')
    await put(await findNpm(), '/usr/local/lib/node_modules/npm')
    for (const library of await librariesOf(process.execPath)) await put(library, library)
    const authorities = process.env['NODE_EXTRA_CA_CERTS']
    if (authorities !== undefined) await put(authorities, certificates)
    await writeFile(join(context, 'Dockerfile'), await dockerfile(authorities !== undefined))
    await docker('build', '--tag', tag, context)
  } finally {
    await rm(context, { recursive: true, force: true })
  }
}

async function dockerfile(hasAuthorities: boolean): Promise<string> {
  const { stdout: registry } = await run('npm', ['config', 'get', 'registry'])
  return [
    'FROM busybox:stable',
    'COPY root /',
    'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm',
    `ENV npm_config_registry=${registry.trim()}`,
    ...(hasAuthorities ? [`ENV NODE_EXTRA_CA_CERTS=${certificates}`] : []),
  ].join('\n')
}

/** The folder of the npm that is first on PATH. */
async function findNpm(): Promise<string> {
  const { stdout } = await run('sh', ['-c', 'command -v npm'])
  return dirname(dirname(await realpath(stdout.trim())))
}

async function librariesOf(binary: string): Promise<string[]> {
  const { stdout } = await run('ldd', [binary])
  return [...stdout.matchAll(/\/\S+/g)].map(([path]) => path)
}
