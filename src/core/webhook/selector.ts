import type { Selector } from '../trigger.ts'
import { findValues } from './json-path.ts'
import type { HookContent } from './request.ts'
import { toHeaderText } from './request.ts'

/** All values at a place of a delivery. Undefined: there may be more than are looked at; see `findValues`. */
export function findSelected(
  selector: Selector,
  { headers, json }: HookContent,
): readonly unknown[] | undefined {
  if ('path' in selector) return findValues(selector.path, json)
  return (headers.get(selector.header) ?? []).map(toHeaderText)
}

/** A text or number that is there once. */
export function findSelectedText(
  selector: Selector | undefined,
  content: HookContent,
): string | undefined {
  const values = selector && findSelected(selector, content)
  if (values?.length !== 1) return undefined
  const [value] = values
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}
