import { StringDecoder } from 'node:string_decoder'
import type { OutputFrame } from '../core/output-record.ts'

/** One line, or a part of a long one. */
export interface Line {
  /** Undefined: it may go on, and there may be others before its end. */
  readonly number: number | undefined
  /** When the last of it came, in milliseconds since the epoch. */
  readonly time: number
  readonly stream: OutputFrame['stream']
  readonly text: string
  /** What it ends in: the last line of all may end in nothing; undefined: it goes on in the next. */
  readonly end: '\n' | '\r\n' | 'none' | undefined
}

/** A line longer than this comes in parts. In UTF-16 code units. */
const MAX_LINE = 16 * 1024
/** Of the lines that a tail keeps, in UTF-16 code units. */
const MAX_TAIL_LENGTH = 8 * 1024 * 1024

/** Parts each stream into lines. They are numbered from 1 on, those of both streams together: the same for the same frames. */
export function createLines() {
  let count: number | undefined = 0
  const next = () => (count === undefined ? undefined : (count += 1))
  const streams = { stdout: createSplitter('stdout', next), stderr: createSplitter('stderr', next) }
  return {
    push: (frame: OutputFrame): Line[] => streams[frame.stream].push(frame),
    /** Last lines that nothing ends. They have their numbers if nothing more comes. */
    end(isOver: boolean): Line[] {
      if (!isOver) count = undefined
      return [...streams.stdout.end(), ...streams.stderr.end()]
    },
  }
}

function createSplitter(stream: OutputFrame['stream'], next: () => number | undefined) {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  let time = 0

  function split(text: string): Line[] {
    const pieces = (rest + text).split('\n')
    rest = pieces.pop() ?? ''
    const lines: Line[] = []
    for (const piece of pieces) {
      const endsInReturn = piece.endsWith('\r')
      const last = cut(endsInReturn ? piece.slice(0, -1) : piece, lines)
      const end = endsInReturn ? '\r\n' : '\n'
      lines.push({ number: next(), time, stream, text: last, end })
    }
    rest = cut(rest, lines)
    return lines
  }

  /** What is left of a line after its parts, which are added to `lines`. */
  function cut(line: string, lines: Line[]): string {
    let at = 0
    while (line.length - at > MAX_LINE) {
      const isWithinCharacter = isHighSurrogate(line.charCodeAt(at + MAX_LINE - 1))
      const end = at + MAX_LINE - Number(isWithinCharacter)
      const text = line.slice(at, end)
      lines.push({ number: next(), time, stream, text, end: undefined })
      at = end
    }
    return line.slice(at)
  }

  return {
    push({ at, bytes }: OutputFrame): Line[] {
      time = at
      return split(decoder.write(Buffer.from(bytes)))
    },
    end(): Line[] {
      const lines = split(decoder.end())
      if (rest !== '') lines.push({ number: next(), time, stream, text: rest, end: 'none' })
      rest = ''
      return lines
    },
  }
}

/** The first half of a character that takes two code units. */
export function isHighSurrogate(codeUnit: number): boolean {
  return codeUnit >= 0xd800 && codeUnit <= 0xdbff
}

/** The last `count` lines with all their parts, within a bound on their length. */
export function createTail(count: number) {
  const kept: Line[] = []
  let length = 0
  let ends = 0
  return {
    push(lines: readonly Line[]): void {
      if (count === 0) return
      for (const line of lines) {
        kept.push(line)
        length += line.text.length
        if (line.end !== undefined) ends += 1
        while (ends > count || (length > MAX_TAIL_LENGTH && kept.length > 1)) {
          const dropped = kept.shift()
          length -= dropped?.text.length ?? 0
          if (dropped?.end !== undefined) ends -= 1
        }
      }
    },
    lines: (): readonly Line[] => kept,
  }
}

/** Where a line stands in all that a call prints. */
export interface LinePlace {
  readonly attempt: number
  readonly number: number
}

export function toLineId({ attempt, number }: LinePlace): string {
  return `${attempt}-${number}`
}

/** Undefined for what is none of ours. */
export function parseLineId(id: string): LinePlace | undefined {
  const [, attempt, number] = /^(\d+)-(\d+)$/.exec(id) ?? []
  return attempt && number ? { attempt: Number(attempt), number: Number(number) } : undefined
}
