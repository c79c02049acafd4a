import type { Draw } from './random.ts'

/** What one call is to do. */
export interface Order {
  readonly function: 'mixed' | 'hasty'
  readonly parameters: Readonly<Record<(typeof PARAMETERS)[number], string>>
  readonly body: Buffer
}

const KIB = 1024
const PARAMETERS = ['out', 'err', 'pattern', 'echo', 'end', 'handler'] as const
/** What a shell, or whoever quotes for one, could stumble over. */
const PATTERNS = [
  'x',
  '0',
  'a:0',
  'it\'s "it"',
  '$(id)',
  '`id`',
  '\\',
  'é\u{1f600}',
  "'\n'",
  '%s *',
]

/** Writes a pattern to both streams, echoes its input, and ends as it is told. */
const SCRIPT = `
flood() { long=$2$2$2$2$2$2$2$2; yes "$long$long$long$long" | head -c "$1"; }
flood "$OUT" "$PATTERN"
flood "$ERR" "$PATTERN-" >&2
[ "$ECHO" = no ] || cat
case $END in
timeout) trap "$HANDLER" TERM; while :; do sleep 0.1; done ;;
[0-9]*) exit "$END" ;;
*) kill "-$END" $$; sleep 60 ;;
esac
`

/** Of the function that carries orders out. */
export function toDefinition(more: object): string {
  return JSON.stringify({
    image: 'busybox:stable',
    network_mode: 'none',
    // No signal of its own ends a container's first process, as a command is that runs without a gate.
    init: true,
    parameters: Object.fromEntries(
      PARAMETERS.map((name) => [name, { type: 'string', required: true }]),
    ),
    environment: Object.fromEntries(
      PARAMETERS.map((name) => [name.toUpperCase(), `\${{ ${name} }}`]),
    ),
    command: ['sh', '-c', SCRIPT.replaceAll('$', '$$$$')],
    ...more,
  })
}

/** One in 50 runs into its timeout, one in 10 ends itself by a signal. */
export function toOrder(draw: Draw): Order {
  const isHasty = draw.once(50)
  const end = isHasty
    ? 'timeout'
    : draw.once(10)
      ? draw.pick(['KILL', 'TERM', 'SEGV', 'USR1', 'HUP'])
      : String(draw.once(2) ? 0 : draw.int(0, 255))
  const body = draw.once(2) ? draw.bytes(toSize(draw)) : Buffer.alloc(0)
  return {
    function: isHasty ? 'hasty' : 'mixed',
    parameters: {
      out: String(toSize(draw)),
      err: String(toSize(draw)),
      pattern: draw.pick(PATTERNS),
      echo: draw.once(10) ? 'no' : 'yes',
      end,
      handler: draw.pick(['', 'exit 7']),
    },
    body,
  }
}

/** From nothing to 1 MiB, small ones more often than large ones. */
function toSize(draw: Draw): number {
  if (draw.once(20)) return 1024 * KIB
  return draw.pick([0, 100, 64 * KIB, 64 * KIB, 1024 * KIB].map((most) => draw.int(0, most)))
}
