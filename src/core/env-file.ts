import type { Variables } from './interpolate.ts'
import { interpolate, valueOf } from './interpolate.ts'
import { showPlaceholders } from './template.ts'

export type EnvFile =
  | { readonly variables: Readonly<Record<string, string>> }
  | { readonly problem: string; readonly line: number }

const assignment = /^(?:export\s+)?([A-Za-z_][\w.-]*)(?:\s*=\s*|(?=\s*$|\s+#))/
const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' }

/**
 * Compose's env files: `KEY=value` or `KEY: value` a line, `#` comments, single quotes for what is meant as it is,
 * double quotes with `\n`, `\r`, `\t`, and either over several lines. Unless in single quotes, `${VAR}` is filled in,
 * first from what the file has said so far, then from `variables`. A `KEY` alone is taken from `variables`.
 * The format `raw` takes everything after `=` as it is.
 */
export function parseEnvFile(text: string, variables: Variables, format?: 'raw'): EnvFile {
  if (text.includes('\0')) return { problem: 'expected no NUL character', line: 1 }
  const own: Record<string, string> = {}
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  for (let index = 0; index < lines.length; index++) {
    const line = index + 1
    const content = lines[index]!.trimStart()
    if (content === '' || content.startsWith('#')) continue
    const match = assignment.exec(content.replace(/^([\w.-]+):\s/, '$1= '))
    if (!match) return { problem: 'expected NAME=value', line }
    const name = match[1]!
    let rest =
      format === 'raw' ? content.slice(content.indexOf('=') + 1) : content.slice(match[0].length)
    if (!match[0].includes('=')) {
      const value = valueOf(variables, name)
      if (value !== undefined) own[name] = value
      continue
    }
    if (format === 'raw') {
      own[name] = rest
      continue
    }
    const quote = rest[0] === '"' || rest[0] === "'" ? rest[0] : undefined
    if (quote) {
      let end = closing(rest, quote)
      while (end < 0 && index + 1 < lines.length) {
        rest += `\n${lines[++index]!}`
        end = closing(rest, quote)
      }
      if (end < 0) return { problem: `expected a closing ${quote}`, line }
      rest = rest.slice(1, end)
    } else {
      rest = rest.replace(/(?:^|\s+)#.*$/, '').trimEnd()
    }
    if (quote === "'") {
      own[name] = rest
      continue
    }
    const known = { ...variables, ...own }
    const read = interpolate(quote === '"' ? unescape(rest) : rest, known)
    if (read.problem) return { problem: read.problem, line }
    own[name] = showPlaceholders(read.text)
  }
  return { variables: own }
}

function closing(text: string, quote: string): number {
  for (let at = 1; at < text.length; at++) {
    if (text[at] === '\\' && quote === '"') at++
    else if (text[at] === quote) return at
  }
  return -1
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/gs, (whole, character: string) => {
    if (character === '"' || character === '\\') return character
    return character === '$' ? '$$' : (escapes[character] ?? whole)
  })
}
