/** What the operator has to put right before anyone can be let in. */
export class AccessProblem extends Error {
  override readonly name = 'AccessProblem'
}

/** As a file that can't be read is told of. */
export function unreadable(path: string, error: unknown): AccessProblem {
  const { code, message } = error as NodeJS.ErrnoException
  const reason =
    code === 'ENOENT' ? 'is not there' : code === 'EACCES' ? 'may not be read' : (code ?? message)
  return new AccessProblem(`${path}: ${reason}`, { cause: error })
}
