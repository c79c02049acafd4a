import type { Task } from '../core/task.ts'

/** Says which gateway made an object: only what carries our own id is ever removed. */
export const GATEWAY_LABEL = 'oneshot.gateway'
export const INVOCATION_LABEL = 'oneshot.invocation'
const FUNCTION_LABEL = 'oneshot.function'

/** An invocation's container can be found by this name even if the answer to its creation was lost. */
export function toContainerName(invocationId: string): string {
  return `oneshot-${invocationId}`
}

/** The definition's own labels, and ours, which can't be overwritten. */
export function toLabels(task: Task, gatewayId: string): Record<string, string> {
  return {
    ...task.container.labels,
    [GATEWAY_LABEL]: gatewayId,
    [INVOCATION_LABEL]: task.invocationId,
    [FUNCTION_LABEL]: task.functionName,
  }
}
