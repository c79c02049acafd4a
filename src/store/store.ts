/** The durable state. */
export interface Store {
  /** Names this gateway for good: what it makes on an engine is found again by it. */
  readonly gatewayId: string
  close(): void
}
