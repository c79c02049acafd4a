import { basename } from 'node:path'
import type { DeployPolicy, PolicySurroundings } from '../core/deploy-policy.ts'
import { defaultDeployPolicy, parseDeployPolicy } from '../core/deploy-policy.ts'
import type { FileProblem } from './definition-document.ts'
import { firstOf, readDocument } from './definition-document.ts'
import { hinted, showProblem } from './definition.ts'
import { readTextFile } from './text-file.ts'

/**
 * The policy in `file`; without one, that of an operator who has written none. Rejects with all that is wrong with it at once, as with an error of the system's: the setting that names the file can't be used.
 */
export async function readDeployPolicy(
  file: string | undefined,
  surroundings: PolicySurroundings,
): Promise<DeployPolicy> {
  if (file === undefined) return defaultDeployPolicy(surroundings)
  const found = await readTextFile(file)
  if ('reason' in found) throw unusable(`${file} ${found.reason}`)
  if (isEmpty(found.text)) throw unusable(`${file} is empty: write {} for the defaults`)
  const document = readDocument(basename(file), found.text, {})
  if (document.problems.length > 0) throw wrong(document.problems)
  const { policy, problems } = parseDeployPolicy(document.value, surroundings)
  const variables = Array.from(document.unset.values(), (path) => ({
    path,
    message: 'no variables are filled in here: write it out',
  }))
  const all = [...variables, ...(problems ?? [])]
  if (all.length > 0 || !policy) {
    throw wrong(firstOf(all).map((problem) => document.locate(hinted(problem))))
  }
  return policy
}

function isEmpty(text: string): boolean {
  return text.split('\n').every((line) => /^\s*(?:#.*)?$/.test(line))
}

function wrong(problems: readonly FileProblem[]): Error {
  return unusable(problems.map(showProblem).join('; '))
}

function unusable(message: string): Error {
  return Object.assign(new Error(message), { syscall: 'read' })
}
