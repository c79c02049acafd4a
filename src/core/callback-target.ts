import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Network = readonly [start: Address, bits: number]

/** What an entry of the allow list names: at any port if it gives none. */
export type TargetRule =
  | { readonly host: string; readonly subdomains: boolean; readonly port: number | undefined }
  | { readonly network: Network; readonly port: number | undefined }

/** Where callbacks may go. */
export interface TargetRules {
  /** Beyond the public addresses. */
  readonly allow: readonly TargetRule[]
  /** Above `allow`, and above what is public: the Docker engine's own port, say. */
  readonly denied?: readonly TargetRule[]
}

/** An address, and how it came up. */
export interface Target {
  /** As the resolver, a socket or a `URL` writes it, an IPv6 one without brackets. */
  readonly address: string
  readonly port: number
  /** The URL's: the name that gave the address, or the address itself. */
  readonly hostname: string
}

const MAX_URL_LENGTH = 2048

/** The IPv6 that is given out at all (RFC 4291, section 2.4): all else is special, or not yet anything. */
const GLOBAL = toNetwork('2000::/3')

/** Tunnels and translators: IPv4-compatible, translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), 6to4, Teredo. */
const ENDS_IN_IPV4 = ['::/96', '::ffff:0:0:0/96', '64:ff9b::/96'].map(toNetwork)
const LOCAL_NAT64 = toNetwork('64:ff9b:1::/48')
const SIX_TO_FOUR = toNetwork('2002::/16')
const TEREDO = toNetwork('2001::/32')

/** Link-local, and with it the metadata services of most clouds; and those that are elsewhere. */
const METADATA = [
  '169.254.0.0/16',
  'fe80::/10',
  'fd00:ec2::/32', // AWS, with the credentials of pods
  'fd20:ce::254/128', // Google Cloud
  '100.100.100.200/32', // Alibaba Cloud
  '192.0.0.192/32', // Oracle Cloud
  '168.63.129.16/32', // Azure, though it looks public
].map(toNetwork)

/** What no entry of an allow list admits, whatever it says. */
const NEVER = [
  ...METADATA,
  // This very host: Linux connects to its loopback, past whatever is said of 127.0.0.0/8.
  ...['0.0.0.0/8', '::/128'].map(toNetwork),
  // Many hosts at once, none of which answers.
  ...['224.0.0.0/4', 'ff00::/8', '255.255.255.255/32'].map(toNetwork),
]

/**
 * The rules in a text such as `hooks.internal:8080, *.corp.example 10.0.0.0/8 [fd00::1]:443`; separators are spaces and
 * commas. `*.x` stands for every name below x, but not for x: whoever may set such names chooses what they lead to.
 * `wrong` holds an entry for each that is no rule, with the reason.
 */
export function parseAllowList(text: string): {
  readonly rules: readonly TargetRule[]
  readonly wrong: readonly string[]
} {
  const rules: TargetRule[] = []
  const wrong: string[] = []
  for (const entry of text.split(/[\s,]+/).filter((entry) => entry !== '')) {
    const rule = parseRule(entry)
    if (typeof rule === 'string') wrong.push(`"${entry}" ${rule}`)
    else rules.push(rule)
  }
  return { rules, wrong }
}

/**
 * Why a callback can't go to a URL; undefined if it may be tried. A literal address is judged here; what a name leads to is seen only when it is connected to.
 */
export function checkUrl(text: string, rules: TargetRules): string | undefined {
  if (text.length > MAX_URL_LENGTH) return `is longer than ${MAX_URL_LENGTH} characters`
  // The parser would take spaces and control characters out.
  const url = /[\s\p{Cc}]/u.test(text) ? undefined : (URL.parse(text) ?? undefined)
  if (url === undefined) return 'is no URL'
  if (!isHttp(url.protocol)) return 'must begin with http:// or https://'
  if (url.username !== '' || url.password !== '') return 'must not hold a user name or a password'
  if (url.port === '0') return 'has no port that can be connected to'
  const hostname = toHostname(url)
  if (parseAddress(hostname) === undefined) return undefined
  const target = { address: hostname, port: toPort(url), hostname }
  return isAllowedAddress(target, rules) ? undefined : 'leads to an address that is not allowed'
}

/** Whether a callback may be sent to an address. Public ones are allowed; others need a rule; some are never. */
export function isAllowedAddress(target: Target, { allow, denied = [] }: TargetRules): boolean {
  const address = parseAddress(target.address)
  if (address === undefined) return false
  if (NEVER.some((network) => isWithin(address, network))) return false
  const inner = address instanceof ipaddr.IPv6 ? embedded(address) : []
  if (inner.some((each) => METADATA.some((network) => isWithin(each, network)))) return false
  if (denied.some((rule) => [address, ...inner].some((each) => isNamed(rule, each, target)))) {
    return false
  }
  return isPublic(address) || allow.some((rule) => isNamed(rule, address, target))
}

/** A URL's host as sockets and resolvers take it: without the brackets of IPv6, and the dot that ends a full name. */
export function toHostname(url: { readonly hostname: string }): string {
  return url.hostname.replace(/^\[|\]$|\.$/g, '').toLowerCase()
}

export function toPort({ port, protocol }: Pick<URL, 'port' | 'protocol'>): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
}

function isHttp(protocol: string): boolean {
  return protocol === 'http:' || protocol === 'https:'
}

function isNamed(rule: TargetRule, address: Address, { port, hostname }: Target): boolean {
  if (rule.port !== undefined && rule.port !== port) return false
  if ('network' in rule) return isWithin(address, rule.network)
  const name = toHostname({ hostname })
  return rule.subdomains ? name.endsWith(`.${rule.host}`) : name === rule.host
}

function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast') return false
  return address.kind() === 'ipv4' || isWithin(address, GLOBAL)
}

function isWithin(address: Address, [start, bits]: Network): boolean {
  return address.kind() === start.kind() && address.match(start, bits)
}

/** The IPv4 addresses that a translator or a tunnel makes of an IPv6 one, however each of them places it. */
function embedded(address: ipaddr.IPv6): Address[] {
  const bytes = address.toByteArray()
  const at = (...places: number[]) => new ipaddr.IPv4(places.map((place) => bytes[place]!))
  const last = at(12, 13, 14, 15)
  if (isWithin(address, SIX_TO_FOUR)) return [at(2, 3, 4, 5)]
  if (isWithin(address, TEREDO)) {
    return [at(4, 5, 6, 7), new ipaddr.IPv4(last.octets.map((octet) => octet ^ 0xff))]
  }
  if (isWithin(address, LOCAL_NAT64)) {
    // RFC 6052, section 2.2: after a prefix of 48, 56, 64 or 96 bits, around byte 8.
    return [at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last]
  }
  return ENDS_IN_IPV4.some((network) => isWithin(address, network)) ? [last] : []
}

function parseRule(entry: string): TargetRule | string {
  const bracketed = /^\[([^[\]]+)\](?::(\d+))?$/.exec(entry)
  const plain = /^([^[\]:]+)(?::(\d+))?$/.exec(entry)
  const [, name = entry, digits] = bracketed ?? plain ?? []
  const port = digits === undefined ? undefined : Number(digits)
  if (port !== undefined && (port < 1 || port > 65_535)) return 'must have a port from 1 to 65535'
  if (/[/:]/.test(name) || parseAddress(name) !== undefined) {
    const network = parseNetwork(name)
    if (typeof network === 'string') return network
    if (bracketed !== null && !name.includes(':')) return 'must not have brackets: it is no IPv6'
    return { network, port }
  }
  if (bracketed !== null) return 'is neither an address nor a network'
  const subdomains = name.startsWith('*.')
  const host = parseHost(subdomains ? name.slice(2) : name)
  if (host === undefined) return 'is neither a host nor an address nor a network'
  return { host, subdomains, port }
}

/** In the form that URLs have. Undefined for what isn't a name, which is what URLs make an IPv4 address of, too. */
function parseHost(text: string): string | undefined {
  const url = /[/\\?#@%]/.test(text) ? null : URL.parse(`http://${text}/`)
  if (url === null) return undefined
  const host = toHostname(url)
  if (!/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host)) return undefined
  return parseAddress(host) === undefined ? host : undefined
}

function parseNetwork(text: string): Network | string {
  const [start = '', length, ...more] = text.split('/')
  const address = parseAddress(start)
  if (address === undefined || more.length > 0) return 'is neither an address nor a network'
  const isMapped = start.includes(':') && address.kind() === 'ipv4'
  const most = address.kind() === 'ipv4' ? 32 : 128
  const bits = length === undefined ? most : Number(length) - (isMapped ? 96 : 0)
  if (length !== undefined && !/^\d+$/.test(length)) return 'must have a prefix length'
  if (bits < 0 || bits > most) return 'must have a prefix length that its address can have'
  const first = ipaddr[address.kind() === 'ipv4' ? 'IPv4' : 'IPv6']
    .networkAddressFromCIDR(`${address.toString()}/${bits}`)
    .toString()
  if (first !== address.toString()) return `is not where its network begins: write ${first}/${bits}`
  if (NEVER.some((never) => never[1] <= bits && isWithin(address, never))) {
    return 'can never be allowed: it is this very host, link-local, multicast, or the metadata of a cloud'
  }
  return [address, bits]
}

/**
 * Undefined unless it is as sockets write it: no inet_aton forms, no zones. ipaddr.js alone would take them, and read
 * `::8.8.8.8` as `::ffff:8.8.8.8`.
 */
function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text)
  const [, head, tail] = /^([0-9a-f:]*:)(\d+\.[\d.]+)$/i.exec(text) ?? []
  if (head !== undefined && tail !== undefined) {
    if (!ipaddr.IPv4.isValidFourPartDecimal(tail)) return undefined
    const [a, b, c, d] = ipaddr.IPv4.parse(tail).octets as [number, number, number, number]
    return parseAddress(`${head}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`)
  }
  if (!/^[0-9a-f:]+$/i.test(text) || !ipaddr.IPv6.isValid(text)) return undefined
  return ipaddr.process(text)
}

function toNetwork(text: string): Network {
  return ipaddr.parseCIDR(text)
}
