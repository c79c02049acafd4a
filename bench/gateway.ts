import type { Program, ProgramOptions } from '../test/program.ts'
import { startProgram } from '../test/program.ts'

/** Starts a gateway that ends in good order if the benchmark is told to end; then calls fail, and so the benchmark ends. */
export function startGateway(options: ProgramOptions = {}): Promise<Program> {
  const starting = startProgram({ ...options, detached: true })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void starting.then((gateway) => gateway.stop()))
  }
  return starting
}
