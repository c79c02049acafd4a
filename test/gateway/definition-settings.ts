import type { DefinitionSettings } from '../../src/gateway/definition.ts'
import { readDefinition, showProblem } from '../../src/gateway/definition.ts'

const MIB = 1024 * 1024

export function definitionSettings(
  overrides: Partial<DefinitionSettings> = {},
): DefinitionSettings {
  return {
    defaults: {
      timeoutMs: 60_000,
      maxTimeoutMs: 86_400_000,
      inputBytes: 1024 * MIB,
      outputBytes: MIB,
      logBytes: 10 * MIB,
      memoryBytes: 512 * MIB,
      pids: 256,
    },
    allowed: new Set(),
    backend: 'container',
    dockerSocketPaths: ['/var/run/docker.sock'],
    engineFolders: [],
    home: '/home/me',
    environment: {},
    ...overrides,
  }
}

/** Reads `text` as `/functions/test.yml`. */
export function read(text: string, settings: Partial<DefinitionSettings> = {}) {
  return readDefinition('/functions/test.yml', text, definitionSettings(settings))
}

export async function readSpec(text: string, settings: Partial<DefinitionSettings> = {}) {
  const result = await read(text, settings)
  if (!result.spec) throw new Error(result.problems.map(showProblem).join('\n'))
  return result.spec
}

/** The container of a definition whose image is `i`. */
export async function readContainer(text: string, settings: Partial<DefinitionSettings> = {}) {
  return (await readSpec(`image: i\n${text}`, settings)).container
}

/** What is wrong with a definition whose image is `i`, line 1 being the first of `text`. */
export async function problemsOf(text: string, settings: Partial<DefinitionSettings> = {}) {
  const { problems = [] } = await read(`${text}\nimage: i\n`, settings)
  return problems.map(showProblem)
}
