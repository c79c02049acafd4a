/** Says which gateway made an object: only what carries our own id is ever removed. */
export const GATEWAY_LABEL = 'oneshot.gateway'
/** The invocation that a container was made for; one that was armed ahead has none. */
export const INVOCATION_LABEL = 'oneshot.invocation'
const FUNCTION_LABEL = 'oneshot.function'

const PREFIX = 'oneshot-'

/** A container can be found by this name even if the answer to its creation was lost. */
export function toContainerName(id: string): string {
  return PREFIX + id
}

/** Whether a gateway, perhaps another one, may have given it. */
export function isOurName(name: string): boolean {
  return name.startsWith(PREFIX)
}

export interface LabelOptions {
  readonly gatewayId: string
  readonly functionName?: string
  readonly invocationId?: string
}

/** Ours, to be put above a definition's own. */
export function toLabels({ gatewayId, functionName, invocationId }: LabelOptions) {
  return {
    [GATEWAY_LABEL]: gatewayId,
    ...(functionName !== undefined && { [FUNCTION_LABEL]: functionName }),
    ...(invocationId !== undefined && { [INVOCATION_LABEL]: invocationId }),
  }
}
