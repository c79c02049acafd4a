import type { DefinitionProblem, Report } from './shape.ts'
import type { Definition } from './definition.ts'
import type { FunctionSpec } from '../function.ts'
import type { ParameterSchema } from '../parameter-schema.ts'
import { placeholdersIn } from '../template.ts'

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
