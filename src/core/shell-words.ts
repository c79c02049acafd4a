/**
 * Splits a command line as Compose does, after the rules of a shell's words: single quotes keep everything, double
 * quotes know `\"` and `\\`, a backslash keeps the next character. Nothing is expanded and no shell runs.
 * Undefined if a quote is never closed or a backslash ends the text.
 */
export function splitWords(text: string): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote: '"' | "'" | undefined
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!
    if (character === '\\' && quote !== "'") {
      const next = text[++at]
      if (next === undefined) return undefined
      const isPlain = quote === '"' && next !== '"' && next !== '\\'
      word = (word ?? '') + (isPlain ? character + next : next)
    } else if (character === quote) {
      quote = undefined
    } else if (!quote && (character === '"' || character === "'")) {
      quote = character
      word ??= ''
    } else if (!quote && /\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word = (word ?? '') + character
    }
  }
  if (quote) return undefined
  return word === undefined ? words : [...words, word]
}
