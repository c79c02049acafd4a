import { RE2JS } from 're2js'

/** A pattern of JSON Schema, which takes time in proportion to the text, whatever both hold. */
export interface Pattern {
  /** Whether it matches somewhere in `text`. */
  matches(text: string): boolean
  /** How many steps each character of a text may take. */
  readonly size: number
}

/**
 * Undefined for what is no regular expression of JavaScript's, or asks for more than RE2 gives: back references and
 * looking around cannot be held to linear time.
 */
export function compilePattern(source: string): Pattern | undefined {
  try {
    void new RegExp(source, 'u')
    const compiled = RE2JS.compile(RE2JS.translateRegExp(source))
    return {
      matches: (text) => compiled.matcher(text).find(),
      size: compiled.programSize(),
    }
  } catch {
    return undefined
  }
}
