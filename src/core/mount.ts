/** What a container sees at `target`, after Compose's `volumes` and `tmpfs`. */
export type Mount = BindMount | VolumeMount | TmpfsMount

export interface BindMount {
  readonly type: 'bind'
  /** An absolute path on the engine's host. */
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
  readonly propagation?: string
  /** Relabel for SELinux: `z` shared, `Z` private. */
  readonly selinux?: 'z' | 'Z'
  /** Make the folder on the host if it is missing. True unless the definition says otherwise, as in Compose. */
  readonly createHostPath: boolean
}

export interface VolumeMount {
  readonly type: 'volume'
  /** The volume's name; without one the volume is anonymous and goes with its container. */
  readonly source?: string
  readonly target: string
  readonly readOnly: boolean
  /** Leave the volume empty instead of filling it with what the image has at `target`. */
  readonly nocopy: boolean
  readonly driver?: string
  readonly driverOptions: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
}

export interface TmpfsMount {
  readonly type: 'tmpfs'
  readonly target: string
  readonly sizeBytes?: number
  /** Permission bits, such as 0o1777. */
  readonly mode?: number
}
