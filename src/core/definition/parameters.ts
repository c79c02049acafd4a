import type { DefinitionProblem, Report } from './shape.ts'
import type { Definition } from './definition.ts'
import type { FunctionSpec } from '../function.ts'
import type { ParameterSchema } from '../parameter-schema.ts'
import {
  MAX_PARAMETERS_BYTES,
  MAX_VARIABLE_BYTES,
  MAX_WORD_BYTES,
  MAX_WORDS_BYTES,
  WORD_OVERHEAD,
  byteLength,
  toDefaultEnvironment,
} from '../parameters.ts'
import { fillPlaceholders, placeholdersIn } from '../template.ts'

const variableName = /^[A-Za-z_][A-Za-z0-9_]*$/
/** Variables that decide what a program loads or runs: a caller who sets them has the program. */
const decisive =
  /^(?:PATH|HOME|IFS|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|NODE_OPTIONS|PYTHON(?:PATH|HOME|STARTUP)|PERL5?(?:OPT|LIB)|RUBY(?:OPT|LIB)|JAVA_TOOL_OPTIONS|__proto__|(?:LD_|DYLD_|GLIBC_|BASH_FUNC_|ONESHOT_|GIT_(?:SSH|EXEC|CONFIG|ASKPASS|PROXY)).*)$/

/** Each parameter becomes a variable of the environment: none may take another's place. */
export function checkParameters({ parameters, container }: FunctionSpec, report: Report): void {
  for (const name of Object.keys(parameters)) {
    const path = ['parameters', name]
    if (!variableName.test(name)) {
      report(path, 'expected a name of letters, digits and _: it becomes an environment variable')
    } else if (decisive.test(name)) {
      report(path, 'expected another name: this variable decides what runs, not a caller')
    } else if (Object.hasOwn(container.environment, name)) {
      report(path, 'expected another name: environment or env_file sets this variable')
    }
  }
}

/** What runs must be whole: each placeholder names a parameter that always has a value. */
export function checkPlaceholders(
  spec: FunctionSpec,
  definition: Definition,
  report: Report,
): void {
  const { command = [], entrypoint = [], environment } = spec.container
  const variables = definition.environment ? 'environment' : 'env'
  const places = [
    ...command.map((text) => [['command'], text] as const),
    ...entrypoint.map((text) => [['entrypoint'], text] as const),
    ...Object.entries(environment).map(([name, text]) => [[variables, name], text] as const),
  ]
  for (const [path, text] of places) {
    for (const name of placeholdersIn(text)) checkPlaceholder(name, spec.parameters, path, report)
  }
}

function checkPlaceholder(
  name: string,
  parameters: Readonly<Record<string, ParameterSchema>>,
  path: DefinitionProblem['path'],
  report: Report,
): void {
  if (!Object.hasOwn(parameters, name)) {
    report(path, `\${{ ${name} }} names no parameter: declare it under parameters`)
    return
  }
  const { required, default: fallback } = parameters[name]!
  if (required !== true && fallback === undefined) {
    report(path, `\${{ ${name} }} may have no value: give ${name} a default, or required: true`)
  }
}

/** What is too long before a call has said anything is no mistake of its caller. */
export function checkLengths(spec: FunctionSpec, definition: Definition, report: Report): void {
  const { command = [], entrypoint = [], environment } = spec.container
  const defaults = Object.entries(toDefaultEnvironment(spec.parameters))
  const sizes = new Map(defaults.map(([name, value]) => [name, byteLength(value)]))
  // Counted, not filled in: a long default may be asked for often.
  const lengthOf = (text: string) =>
    byteLength(fillPlaceholders(text, () => '')) +
    sum(placeholdersIn(text).map((name) => sizes.get(name) ?? 0))
  const variables = definition.env ? 'env' : 'environment'
  const words = {
    command: command.map(lengthOf),
    entrypoint: entrypoint.map(lengthOf),
    [variables]: Object.entries(environment).map(([name, text]) => lengthOf(`${name}=${text}`)),
  }
  for (const [key, lengths] of Object.entries(words)) {
    if (lengths.some((length) => length > MAX_WORD_BYTES)) {
      report([key], 'expected at most 128 KiB in each argument or variable: mount a file instead')
    }
  }
  const parameters = defaults.map(([name, value]) => byteLength(`${name}=${value}`))
  for (const [index, [name]] of defaults.entries()) {
    if (parameters[index]! > MAX_VARIABLE_BYTES) {
      report(['parameters', name, 'default'], 'expected at most 100 KiB: mount a file instead')
    }
  }
  if (sum(parameters) > MAX_PARAMETERS_BYTES) {
    report(['parameters'], 'expected defaults of at most 1 MiB together: mount a file instead')
  }
  checkTotal({ ...words, parameters }, report)
}

/** Told at the key that has the most. */
function checkTotal(parts: Readonly<Record<string, readonly number[]>>, report: Report): void {
  const totals = Object.entries(parts).map(([key, lengths]) => ({
    key,
    total: sum(lengths) + lengths.length * WORD_OVERHEAD,
  }))
  if (sum(totals.map(({ total }) => total)) <= MAX_WORDS_BYTES) return
  const { key } = totals.reduce((most, each) => (each.total > most.total ? each : most))
  const what = 'command, environment and defaults of at most 1.75 MiB together'
  report([key], `expected ${what}: mount a file instead`)
}

function sum(lengths: readonly number[]): number {
  return lengths.reduce((total, length) => total + length, 0)
}
