import type { FunctionSpec } from '../core/function.ts'
import type { FileProblem } from './definition.ts'

/** What is known of a function. */
export type CatalogEntry = (ReadyFunction | BrokenFunction) & Origin

/** Where its definition stands. */
export type Origin = FromFile | FromApi

export interface FromFile {
  readonly origin: 'file'
  /** The file's base name. */
  readonly file: string
}

export interface FromApi {
  readonly origin: 'api'
  readonly file?: never
  /** Milliseconds since the epoch. */
  readonly updatedAt: number
  readonly updatedBy: string
  /** Tells one version of it from another. */
  readonly etag: string
}

export interface ReadyFunction {
  readonly name: string
  readonly state: 'ready'
  readonly spec: FunctionSpec
  /** As written, with the values of secrets masked: fit to be shown. */
  readonly source: Readonly<Record<string, unknown>>
  readonly warnings: readonly string[]
}

export interface BrokenFunction {
  readonly name: string
  readonly state: 'broken'
  readonly problems: readonly FileProblem[]
  readonly warnings: readonly string[]
}

/** What a function may be called. */
export const FUNCTION_NAME = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/

/** Of a definition that can't be read at all. `file` is shown as where it stands. */
export function toBroken(file: string, message: string): readonly FileProblem[] {
  return [{ file, line: 1, column: 1, key: '', pointer: '#', message }]
}
