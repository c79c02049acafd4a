import type { Rate } from './rate.ts'

/**
 * What a caller may do. `invoke:*` calls every function, `invoke:NAME` one, `invoke:PREFIX*` those whose names begin so; `read` sees what there is and what
 * has been called; `deploy` changes functions; `admin` may do everything.
 */
export type Scope = 'read' | 'deploy' | 'admin' | `invoke:${string}`

/** Who calls. */
export interface Caller {
  /** `key`: an API key; `token`: a JWT; `anyone`: nobody has to say who he is here; `anonymous`: he has not said. */
  readonly kind: 'key' | 'token' | 'anyone' | 'anonymous'
  /** Of the key, or the token's subject. Safe to be logged. */
  readonly name: string
  readonly scopes: readonly Scope[]
  /** How often he may call; absent: as often as all others. */
  readonly rate?: Rate
}

/** Where nobody has to say who he is. */
export const ANYONE: Caller = { kind: 'anyone', name: 'anyone', scopes: ['admin'] }
export const ANONYMOUS: Caller = { kind: 'anonymous', name: 'anonymous', scopes: [] }

/** Finds out who calls. */
export interface Authenticator {
  /** Nobody has to say who he is: everyone is `ANYONE`. */
  readonly isOpen: boolean
  /**
   * By what a request's `Authorization` says (RFC 6750, section 2.1); nothing makes it `ANONYMOUS`. Rejects with `Unauthorized`, or with
   * `keys_unavailable` if the keys that tokens are checked with can't be fetched.
   */
  authenticate(authorization: string | undefined): Promise<Caller>
}

/** What a route asks of its caller. */
export type Need = 'read' | 'deploy' | 'admin' | { readonly invoke: string }

const SCOPE = /^(?:read|deploy|admin|invoke:(?:\*|[a-z0-9][-a-z0-9]{0,62}\*?))$/

/** Whether a text is a scope. */
export function isScope(text: string): text is Scope {
  return SCOPE.test(text)
}

export function allows({ scopes }: Pick<Caller, 'scopes'>, need: Need): boolean {
  if (scopes.includes('admin')) return true
  if (typeof need === 'string') return scopes.includes(need)
  return scopes.some((scope) => matchesName(scope, need.invoke))
}

function matchesName(scope: Scope, name: string): boolean {
  if (!scope.startsWith('invoke:')) return false
  const pattern = scope.slice('invoke:'.length)
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name
}

/** As the scope that would meet it is written. */
export function showNeed(need: Need): string {
  return typeof need === 'string' ? need : `invoke:${need.invoke}`
}

/** What goes on record of who called: nothing where he has not said. */
export function toRecordedName({ kind, name }: Caller): string | undefined {
  return kind === 'key' || kind === 'token' ? name : undefined
}
