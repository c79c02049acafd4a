import { flag, id, mode, text } from './scalar.ts'
import { choice } from './scalar.ts'
import { describe, listOf, mapping, oneOf, refuse } from './shape.ts'
import type { FileReference } from '../function.ts'
import { absolutePath, isFileName } from '../path.ts'
import * as z from 'zod'

const source = text.transform((value, context) =>
  isFileName(value)
    ? value
    : refuse(
        context,
        `expected a name of letters, digits, ., _ and -, with a letter or digit at both ends, got ${describe(value)}`,
      ),
)

/** Secrets or configs; a target that is not absolute goes into `folder`. */
export function fileReferences(folder: string) {
  const long = mapping({
    source,
    target: text.exactOptional(),
    uid: id.exactOptional(),
    gid: id.exactOptional(),
    mode: mode.exactOptional(),
  })
  const short = source.transform((name) => ({ source: name }))
  const entry = oneOf('a name or a map', { text: short, map: long })
  return listOf(
    entry.transform((value): FileReference => {
      const {
        source,
        target = source,
        uid = 0,
        gid = 0,
        mode = 0o444,
      } = value as z.output<typeof long>
      return { source, target: absolutePath(target, folder), uid, gid, mode }
    }),
    'a list of names',
  )
}

export interface EnvFileEntry {
  readonly path: string
  readonly required: boolean
  readonly format?: 'raw'
}

const envFileEntry = oneOf('a path or a map', {
  text: text.transform((path): EnvFileEntry => ({ path, required: true })),
  map: mapping({
    path: text,
    required: flag.exactOptional(),
    format: choice('raw').exactOptional(),
  }).transform((entry): EnvFileEntry => ({ required: true, ...entry })),
})

export const envFiles = oneOf('a path or a list of paths', {
  text: envFileEntry.transform((entry) => [entry]),
  list: z.array(envFileEntry),
})
