import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** Addresses that begin alike. */
export type Network = readonly [start: Address, bits: number]

/** The networks of a text such as `10.0.0.0/8, 127.0.0.1 [fd00::1]`. `wrong` has each entry that is none. */
export function parseNetworks(text: string): {
  readonly networks: readonly Network[]
  readonly wrong: readonly string[]
} {
  const networks: Network[] = []
  const wrong: string[] = []
  for (const entry of text.split(/[\s,]+/).filter((each) => each !== '')) {
    const network = parseNetwork(entry)
    if (network) networks.push(network)
    else wrong.push(entry)
  }
  return { networks, wrong }
}

/**
 * Who sends a request, as far as those are believed who hand it on: the rightmost address of X-Forwarded-For that is not one of `trusted`; what stands left
 * of it anyone could have written. Undefined: the connection has gone, and with it the address.
 */
export function findClient(
  remote: string | undefined,
  forwardedFor: string | undefined,
  trusted: readonly Network[],
): string | undefined {
  const peer = parseAddress(remote ?? '')
  if (!peer) return undefined
  let client = peer
  if (forwardedFor !== undefined && isIn(peer, trusted)) {
    for (const entry of forwardedFor.split(',').toReversed()) {
      const address = parseAddress(entry.trim())
      // What can't be read is no address to go by: whoever handed it on counts.
      if (!address) break
      client = address
      if (!isIn(address, trusted)) break
    }
  }
  return client.toString()
}

/** What is counted together: an IPv4 address; of IPv6 a /64, which is what one customer has at least. */
export function toCounted(address: string): string {
  const parsed = parseAddress(address)
  if (!(parsed instanceof ipaddr.IPv6)) return address
  const bytes = parsed.toByteArray().map((byte, index) => (index < 8 ? byte : 0))
  return `${new ipaddr.IPv6(bytes).toString()}/64`
}

/** Whether a host, as a setting, a URL or a Host header names it, is this machine's loopback. */
export function isLoopback(host: string): boolean {
  const name = host
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase()
  if (name === 'localhost' || name.endsWith('.localhost')) return true
  return parseAddress(name)?.range() === 'loopback'
}

/** Whether what comes from `url` is what was sent: over TLS, or from this machine. */
export function isTrustworthy({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname))
}

function parseNetwork(entry: string): Network | undefined {
  const text = entry.replace(/^\[|\]$/g, '')
  if (ipaddr.isValidCIDR(text)) return ipaddr.parseCIDR(text)
  const address = parseAddress(text)
  return address && [address, address.kind() === 'ipv4' ? 32 : 128]
}

/** IPv4 in four parts, IPv6, and the former written as the latter. */
function parseAddress(text: string): Address | undefined {
  const bare = text.replace(/^\[|\]$/g, '').replace(/%.*$/, '')
  const isAddress = ipaddr.IPv4.isValidFourPartDecimal(bare) || ipaddr.IPv6.isValid(bare)
  return isAddress ? ipaddr.process(bare) : undefined
}

function isIn(address: Address, networks: readonly Network[]): boolean {
  return networks.some(
    ([start, bits]) => start.kind() === address.kind() && address.match(start, bits),
  )
}
