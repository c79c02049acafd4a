import type { DefinitionProblem } from '../core/definition/definition.ts'
import { showPlaceholders } from '../core/template.ts'

type Path = DefinitionProblem['path']

/** A place that variables of the gateway's environment were filled in at, and their values. */
export interface FilledPlace {
  readonly path: Path
  readonly used: Readonly<Record<string, string>>
}

/** What is shorter says nothing, and stands in too many messages by chance. */
const MIN_LENGTH = 4
/** What `describe` says instead of a value. */
const kind = /^(?:a map|a list|nothing|a single value|a longer text)$/
/** How the policy's messages end, which a path such as that of `docker.sock` has words in common with. */
const remedy =
  /: the operator can allow it with (?:ONESHOT_ALLOW=[a-z-]+|[a-zA-Z.]+ in ONESHOT_DEPLOY_POLICY)$/

/**
 * Keeps what the environment holds out of what is told of a problem. Messages quote a value, escaped or in part: rather
 * some words too few than a part of a secret.
 */
export function redactProblem(
  { path, message }: DefinitionProblem,
  places: readonly FilledPlace[],
): string {
  const [hint = ''] = remedy.exec(message) ?? []
  const told = showPlaceholders(message.slice(0, message.length - hint.length))
  const shown = withoutGot(told, valuesOf(places, path, Infinity))
  const whole = hideWhole(shown.text, valuesOf(places, [], 0))
  // A parameter's default is told of with its enum: they are two keys away from each other.
  return hideParts(whole, valuesOf(places, path, 2)) + shown.got + hint
}

/** By their names, the values at places that lead to `path` or are below it, as far as `depth` keys tell. */
function valuesOf(
  places: readonly FilledPlace[],
  path: Path,
  depth: number,
): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const place of places) {
    const length = Math.min(path.length, place.path.length, depth)
    const isConcerned = path.slice(0, length).every((key, index) => key === place.path[index])
    if (!isConcerned) continue
    for (const [name, value] of Object.entries(place.used)) values.set(name, value)
  }
  return values
}

/** Names the variables in place of what was got from them. */
function withoutGot(message: string, values: ReadonlyMap<string, string>) {
  const separator = ', got '
  const at = message.indexOf(separator)
  if (at < 0 || values.size === 0 || kind.test(message.slice(at + separator.length))) {
    return { text: message, got: '' }
  }
  const names = Array.from(values.keys(), (name) => `\${${name}}`)
  return { text: message.slice(0, at), got: `${separator}what is in ${names.join(', ')}` }
}

function hideWhole(message: string, values: ReadonlyMap<string, string>): string {
  const longestFirst = [...values].toSorted(([, a], [, b]) => b.length - a.length)
  let hidden = message
  for (const [name, value] of longestFirst) {
    if (value.length < MIN_LENGTH) continue
    for (const form of formsOf(value)) hidden = hidden.replaceAll(form, () => `\${${name}}`)
  }
  return hidden
}

function hideParts(message: string, values: ReadonlyMap<string, string>): string {
  const parts = new Set<string>()
  for (const form of [...values.values()].flatMap(formsOf)) {
    for (let at = 0; at + MIN_LENGTH <= form.length; at++) parts.add(partAt(form, at))
  }
  let hidden = ''
  let shownFrom = 0
  for (let at = 0; at + MIN_LENGTH <= message.length; at++) {
    if (!parts.has(partAt(message, at))) continue
    if (at > shownFrom || at === 0) hidden += `${message.slice(shownFrom, at)}…`
    shownFrom = at + MIN_LENGTH
  }
  return hidden + message.slice(shownFrom)
}

function partAt(text: string, at: number): string {
  return text.slice(at, at + MIN_LENGTH)
}

function formsOf(value: string): string[] {
  return [value, JSON.stringify(value).slice(1, -1)]
}
