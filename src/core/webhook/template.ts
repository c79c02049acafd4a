/** What is signed, piece by piece. */
export type TemplatePart = { readonly literal: string } | { readonly place: Place }

type Place = 'body' | 'timestamp' | 'id'

/**
 * Such as `{timestamp}.{body}`. Undefined for what does not hold `{body}` exactly once, names anything but `{body}`, `{timestamp}` and `{id}`, or has a lone
 * brace.
 */
export function parseTemplate(text: string): readonly TemplatePart[] | undefined {
  const parts = text
    .split(/(\{(?:body|timestamp|id)\})/)
    .filter((piece) => piece !== '')
    .map((piece): TemplatePart => {
      const place = /^\{(\w+)\}$/.exec(piece)?.[1]
      return place === undefined ? { literal: piece } : { place: place as Place }
    })
  const isPlain = parts.every((part) => !('literal' in part) || !/[{}]/.test(part.literal))
  const bodies = parts.filter((part) => 'place' in part && part.place === 'body')
  return isPlain && bodies.length === 1 ? parts : undefined
}

export function hasPlace(parts: readonly TemplatePart[], place: Place): boolean {
  return parts.some((part) => 'place' in part && part.place === place)
}

/** The template's own signs: an id that held one could take over what stands beside it. */
export function delimitersOf(parts: readonly TemplatePart[]): string {
  const literals = parts.map((part) => ('literal' in part ? part.literal : '')).join('')
  return literals.replaceAll(/[A-Za-z0-9]/g, '')
}
