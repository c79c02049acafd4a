import { Readable } from 'node:stream'
import type { Task } from '../../src/core/task.ts'
import { startContainerEngine } from './container-engine.ts'

/** What a process that runs one task, and is killed over it, is told as its argument, as JSON. */
export interface Doom {
  readonly gatewayId: string
  readonly task: Task
  /** In an armed container. */
  readonly armed: boolean
  readonly inputBytes: number
  /** The task is never placed for good. */
  readonly hangsPlacing: boolean
}

const doom = JSON.parse(process.argv[2] ?? '') as Doom
const { task, inputBytes } = doom
const tell = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

const engine = startContainerEngine(doom.gatewayId)
await engine.ping()
if (doom.armed) {
  engine.arm(task.spec, 1)
  while (engine.armed().every(({ ready }) => ready === 0)) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
const stop = new AbortController().signal
const input = inputBytes > 0 ? Readable.from([Buffer.alloc(inputBytes, 'i')]) : undefined
void engine.run(
  task,
  {
    stdin: input,
    stdout: (chunk) => void tell({ stdout: Buffer.from(chunk).toString('latin1', 0, 100) }),
    stderr: () => {},
    async placed(handle) {
      tell({ handle })
      if (doom.hangsPlacing) await new Promise(() => {})
    },
    // Its end is never on record.
    recorded: new Promise(() => {}),
    inputDelivered: () => void tell({ delivered: true }),
  },
  stop,
)
setInterval(() => {}, 1_000)
