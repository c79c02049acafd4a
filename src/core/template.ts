/*
 * `${{ name }}` of a definition's command, entrypoint and environment. Once read it is kept between NULs: the one
 * character that neither an argument nor an environment variable can hold, so that nothing else can look like it,
 * whatever a value, a quote or an interpolation brings along.
 */
const mark = '\0'
const placeholders = /\0([^\0]*)\0/g

/** Stands for the value of the parameter `name`. */
export function placeholder(name: string): string {
  return mark + name + mark
}

/** The names of the parameters whose values `text` asks for. */
export function placeholdersIn(text: string): string[] {
  return Array.from(text.matchAll(placeholders), (match) => match[1]!)
}

/** Puts values in, in a single pass: what a value contains is never looked at. */
export function fillPlaceholders(text: string, valueOf: (name: string) => string): string {
  return text.replaceAll(placeholders, (_, name: string) => valueOf(name))
}

/** `text` as its author wrote it, to be shown. */
export function showPlaceholders(text: string): string {
  return fillPlaceholders(text, (name) => `\${{ ${name} }}`)
}
