import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkUrl, isAllowedAddress, parseAllowList } from '../../src/core/callback-target.ts'

function parse(text: string) {
  const { rules, wrong } = parseAllowList(text)
  expect(wrong).toEqual([])
  return rules
}

const isAllowed = (address: string, allow = '', port = 443, hostname = 'hooks.example') =>
  isAllowedAddress({ address, port, hostname }, { allow: parse(allow) })

test.each([
  '93.184.216.34',
  '1.1.1.1',
  '192.0.1.1',
  '172.32.0.1',
  '100.128.0.1',
  '::ffff:1.1.1.1',
  '::ffff:101:101',
  '2606:4700:4700::1111',
  '2a00:1450:4001:80b::200e',
])('%s is public, and allowed', (address) => {
  expect(isAllowed(address)).toBe(true)
})

/** One of each kind that leads into the operator's own network, or nowhere. */
const INTERNAL = `
  127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1
  192.0.0.8 192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 192.88.99.1 240.0.0.1 ::1
  ::ffff:127.0.0.1 ::ffff:7f00:1 ::127.0.0.1 ::8.8.8.8 ::808:808 ::ffff:0:8.8.8.8
  64:ff9b::8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::a00:1 2002:7f00:1:: 2002:808:808:: 2001:0:1::1
  fc00::1 fd00::1 fec0::1 100::1 2001:db8::1 3fff::1 2001:2::1 2001:10::1 5f00::1 4000::1
  1::1 fdff:ffff::1 0:0:0:0:0:0:0:1 0::ffff:10.0.0.1
`
  .trim()
  .split(/\s+/)

test.each(INTERNAL)('%s is allowed only by an entry, be it a network or a host', (address) => {
  expect(isAllowed(address)).toBe(false)
  expect(isAllowed(address, '0.0.0.0/0 ::/0')).toBe(true)
  expect(isAllowed(address, 'hooks.example')).toBe(true)
  expect(isAllowed(address, 'other.example *.hooks.example hooks.example:80')).toBe(false)
})

const NEVER = `
  0.0.0.0 0.1.2.3 :: 169.254.169.254 169.254.170.2 169.254.0.1 fe80::1 fd00:ec2::254
  FD00:0EC2:0:0:0:0:0:254 fd00:ec2::23 fd20:ce::254 100.100.100.200 192.0.0.192
  168.63.129.16 224.0.0.1 ff02::1 255.255.255.255 ::ffff:169.254.169.254 ::ffff:a9fe:a9fe
  ::169.254.169.254 ::ffff:0:a9fe:a9fe 64:ff9b::169.254.169.254 64:ff9b::a9fe:a9fe
  2002:a9fe:a9fe::1 64:ff9b:1::a9fe:a9fe 64:ff9b:1:a9fe:a9:fe00:: 64:ff9b:1:a9:fe:a9fe::
  64:ff9b:1:0:a9:fea9:fe00:: 2001:0:0:0:0:0:5601:5601 ::ffff:168.63.129.16
`
  .trim()
  .split(/\s+/)

test.each(NEVER)('%s is never allowed, whatever the entries say', (address) => {
  expect(isAllowed(address)).toBe(false)
  expect(isAllowed(address, 'hooks.example *.example 0.0.0.0/0 ::/0')).toBe(false)
})

test.each(['', 'hooks.example', '127.1', '2130706433', '0x7f.1', '0177.0.0.1', '010.8.8.8'])(
  '%j is no address that is connected to, and not allowed',
  (address) => {
    expect(isAllowed(address, 'hooks.example 0.0.0.0/0 ::/0')).toBe(false)
  },
)

test.each([
  '1.1.1.1%eth0',
  'fd00::1%eth0',
  '[fd00::1]',
  '8.8.8.8 ',
  '::0x7f.1',
  '::ffff:010.0.0.1',
])('%j is no address that is connected to, either', (address) => {
  expect(isAllowed(address, 'hooks.example 0.0.0.0/0 ::/0')).toBe(false)
})

describe('what is denied', () => {
  const denied = parse('10.0.0.5:2375 127.0.0.0/8:2375 [2a00::5] engine.example')
  const reach = (address: string, port: number, hostname = 'hooks.example') =>
    isAllowedAddress(
      { address, port, hostname },
      { allow: parse('hooks.example 0.0.0.0/0 ::/0'), denied },
    )

  test.each([
    ['10.0.0.5', 2375],
    ['::ffff:10.0.0.5', 2375],
    ['64:ff9b::a00:5', 2375],
    ['127.9.9.9', 2375],
    ['::127.0.0.1', 2375],
    ['2a00::5', 443],
  ])('%s at port %d stays denied whatever is allowed', (address, port) => {
    expect(reach(address, port)).toBe(false)
  })

  test('is denied at its ports only, and by its name', () => {
    expect(reach('10.0.0.5', 2376)).toBe(true)
    expect(reach('10.0.0.6', 2375)).toBe(true)
    expect(reach('1.1.1.1', 443, 'ENGINE.example.')).toBe(false)
  })
})

test.each([
  ['10.0.0.5', '10.0.0.5', 1, true],
  ['10.0.0.5', '10.0.0.6', 1, false],
  ['10.0.0.5:8443', '10.0.0.5', 8443, true],
  ['10.0.0.5:8443', '10.0.0.5', 443, false],
  ['10.0.0.0/8', '10.255.0.1', 443, true],
  ['10.0.0.0/8', '11.0.0.1', 443, true],
  ['10.0.0.0/8', '192.168.0.1', 443, false],
  ['10.0.0.0/8:80', '10.0.0.1', 80, true],
  ['10.0.0.0/8:80', '10.0.0.1', 81, false],
  ['::ffff:10.0.0.0/104', '10.1.1.1', 80, true],
  ['fd00::1', 'fd00::1', 443, true],
  ['[fd00::1]', 'fd00:0:0::1', 443, true],
  ['[fd00::1]:443', 'fd00::1', 443, true],
  ['[fd00::1]:443', 'fd00::1', 444, false],
  ['fd12:3456::/32', 'fd12:3456:1::1', 443, true],
  ['fd12:3456::/32', 'fd12:3457::1', 443, false],
  ['[fd12:3456::/32]:80', 'fd12:3456::9', 80, true],
  ['::1', '127.0.0.1', 80, false],
])('the entry %s: %s at port %d, allowed: %j', (entry, address, port, expected) => {
  expect(isAllowed(address, entry, port)).toBe(expected)
})

test.each([
  ['hooks.internal', 'hooks.internal', 80, true],
  ['hooks.internal', 'HOOKS.internal.', 80, true],
  ['HOOKS.Internal.', 'hooks.internal', 80, true],
  ['hooks.internal', 'a.hooks.internal', 80, false],
  ['hooks.internal', 'hooks.internal.evil.example', 80, false],
  ['hooks.internal', 'xhooks.internal', 80, false],
  ['hooks.internal:8080', 'hooks.internal', 8080, true],
  ['hooks.internal:8080', 'hooks.internal', 80, false],
  ['*.corp.example', 'a.corp.example', 80, true],
  ['*.corp.example', 'a.b.corp.example', 80, true],
  ['*.corp.example', 'corp.example', 80, false],
  ['*.corp.example', 'acorp.example', 80, false],
  ['*.corp.example:81', 'a.corp.example', 80, false],
  ['my_service', 'my_service', 80, true],
  ['bücher.example', 'xn--bcher-kva.example', 80, true],
])('the entry %s: the name %s at port %d, allowed: %j', (entry, hostname, port, expected) => {
  expect(isAllowed('10.0.0.1', entry, port, hostname)).toBe(expected)
})

test.each([
  ['hooks.internal:0', 'must have a port'],
  ['hooks.internal:65536', 'must have a port'],
  ['hooks.internal:http', 'is neither'],
  ['https://hooks.internal', 'is neither'],
  ['user@hooks.internal', 'is neither'],
  ['hooks..internal', 'is neither'],
  ['*', 'is neither'],
  ['*.', 'is neither'],
  ['a.*.example', 'is neither'],
  ['*hooks.internal', 'is neither'],
  ['%31.example', 'is neither'],
  ['127.1', 'is neither'],
  ['0x7f000001', 'is neither'],
  ['*.1', 'is neither'],
  ['１２７.0.0.1', 'is neither'],
  ['10.0.0.256', 'is neither'],
  ['10.0.0.0/', 'must have a prefix length'],
  ['10.0.0.0/33', 'must have a prefix length'],
  ['10.0.0.0/255.0.0.0', 'must have a prefix length'],
  ['10.0.0.0/8/8', 'is neither'],
  ['10.0.0.5/8', 'write 10.0.0.0/8'],
  ['fd00::5/64', 'write fd00::/64'],
  ['fd00::/129', 'must have a prefix length'],
  ['::ffff:10.0.0.0/8', 'must have a prefix length'],
  ['[fd00::/64', 'is neither'],
  ['[fd00::]/64', 'is neither'],
  ['[10.0.0.5]:80', 'must not have brackets'],
  ['[hooks.internal]:80', 'is neither'],
  ['fe80::1%eth0', 'is neither'],
  ['169.254.169.254', 'can never be allowed'],
  ['169.254.169.0/24', 'can never be allowed'],
  ['::ffff:169.254.169.254', 'can never be allowed'],
  ['168.63.129.16:80', 'can never be allowed'],
  ['0.0.0.0', 'can never be allowed'],
  ['[fe80::1]:80', 'can never be allowed'],
])('the entry %s is told to be wrong: %s', (entry, reason) => {
  const { rules, wrong } = parseAllowList(`${entry}, hooks.internal`)
  expect(rules).toHaveLength(1)
  expect(wrong).toEqual([
    expect.stringContaining(`"${entry}" ${reason.startsWith('write') ? '' : reason}`),
  ])
  expect(wrong[0]).toContain(reason)
})

test('entries are separated by spaces, commas and line ends', () => {
  expect(parse(' a.example,b.example ,\n10.0.0.0/8\t[fd00::1]:443 ')).toHaveLength(4)
  expect(parse('')).toEqual([])
})

const check = (url: string, allow = '') => checkUrl(url, { allow: parse(allow) })

test.each([
  'https://hooks.example/a?b=c',
  'http://hooks.example:8080',
  'HTTPS://1.1.1.1/',
  'http://[2a00::1]/',
])('%s may be tried', (url) => {
  expect(check(url)).toBeUndefined()
})

test.each([
  ['', 'is no URL'],
  ['hooks.example', 'is no URL'],
  ['//hooks.example', 'is no URL'],
  ['http://', 'is no URL'],
  ['http://hooks.example:99999/', 'is no URL'],
  [' http://hooks.example', 'is no URL'],
  ['ht\ntp://hooks.example', 'is no URL'],
  ['http://hooks.example/\0', 'is no URL'],
  ['http://hooks.example/a b', 'is no URL'],
  ['http://127.0.0.1%00.example/', 'is no URL'],
  ['http://[fe80::1%25eth0]/', 'is no URL'],
  ['ftp://hooks.example', 'must begin with'],
  ['file:///etc/passwd', 'must begin with'],
  ['unix:/var/run/docker.sock', 'must begin with'],
  ['javascript:1', 'must begin with'],
  ['https://user@hooks.example', 'must not hold'],
  ['https://:secret@hooks.example', 'must not hold'],
  ['http://1.1.1.1@127.0.0.1', 'must not hold'],
  ['http://hooks.example:0/', 'has no port'],
  [`https://hooks.example/${'a'.repeat(2048)}`, 'is longer'],
])('%j is refused: it %s', (url, reason) => {
  expect(check(url)).toContain(reason)
})

test('2048 characters are not too long', () => {
  expect(check('https://hooks.example/'.padEnd(2048, 'a'))).toBeUndefined()
})

test.each([
  'http://127.0.0.1/',
  'http://2130706433/',
  'http://0x7f.1/',
  'http://127.1/',
  'http://0177.0.0.1/',
  'http://127.0.0.1./',
  'http://%31%32%37.0.0.1/',
  'http://１２７.0.0.1/',
  'http://①②⑦.0.0.1/',
  'http://127。0。0。1/',
  'http:\\\\127.0.0.1\\',
  'http:127.0.0.1',
  'http://0/',
  'http://[::]/',
  'http://[::1]/',
  'http://[::ffff:127.0.0.1]/',
  'http://[::ffff:7f00:1]/',
  'http://[0:0:0:0:0:ffff:127.0.0.1]/',
  'http://[::127.0.0.1]/',
  'http://[64:ff9b::127.0.0.1]/',
  'http://[2002:7f00:1::]/',
  'http://169.254.169.254/latest/meta-data/',
])('%s is refused before anything is connected', (url) => {
  expect(check(url)).toBe('leads to an address that is not allowed')
})

test('a literal is tried if an entry allows it at that port', () => {
  expect(check('http://[::ffff:7f00:1]:8080/', '127.0.0.1:8080')).toBeUndefined()
  expect(check('http://127.0.0.1/', '127.0.0.1:80')).toBeUndefined()
  expect(check('https://127.0.0.1/', '127.0.0.1:443')).toBeUndefined()
  expect(check('https://127.0.0.1/', '127.0.0.1:80')).toContain('not allowed')
})

const octet = fc.nat(255)
const privateIpv4 = fc.oneof(
  fc.tuple(fc.constantFrom(0, 10, 127), octet, octet, octet),
  fc.tuple(fc.constant(172), fc.integer({ min: 16, max: 31 }), octet, octet),
  fc.tuple(fc.constant(192), fc.constant(168), octet, octet),
  fc.tuple(fc.constant(169), fc.constant(254), octet, octet),
  fc.tuple(fc.constant(100), fc.integer({ min: 64, max: 127 }), octet, octet),
)
const base = (value: number) =>
  fc.constantFrom(
    `${value}`,
    `0x${value.toString(16)}`,
    `0${value.toString(8)}`,
    `0X0${value.toString(16)}`,
  )
const wide = (text: string) =>
  text.replace(/[0-9]/g, (digit) => String.fromCodePoint(0xff10 + Number(digit)))
const escaped = (text: string) => text.replace(/[0-9]/g, (digit) => `%3${digit}`)

/** One address, in any way in which a URL can say it. */
const spelling = privateIpv4.chain(([a, b, c, d]) => {
  const number = ((a * 256 + b) * 256 + c) * 256 + d
  const high = (a * 256 + b).toString(16)
  const low = (c * 256 + d).toString(16)
  const dotted = fc.oneof(
    fc.tuple(base(a), base(b), base(c), base(d)).map((parts) => parts.join('.')),
    fc.tuple(base(a), base(b), base(c * 256 + d)).map((parts) => parts.join('.')),
    fc.tuple(base(a), base((b * 256 + c) * 256 + d)).map((parts) => parts.join('.')),
    base(number),
  )
  const dressed = fc
    .tuple(dotted, fc.constantFrom('', '.'), fc.constantFrom(String, wide, escaped))
    .map(([text, end, dress]) => dress(text) + end)
  const ipv6 = fc
    .tuple(
      fc.constantFrom('::', '::ffff:', '::FFFF:0:', '0:0:0:0:0:ffff:', '64:ff9b::', '64:ff9b:1::'),
      fc.constantFrom(`${high}:${low}`, `${a}.${b}.${c}.${d}`),
    )
    .map((parts) => `[${parts.join('')}]`)
  return fc.oneof(dressed, ipv6, fc.constant(`[2002:${high}:${low}::1]`))
})

test('no spelling of an internal address passes', () => {
  fc.assert(
    fc.property(
      spelling,
      fc.constantFrom('http', 'https'),
      fc.nat(65_535),
      (host, scheme, port) => {
        const url = `${scheme}://${host}:${port}/`
        expect(check(url)).toBeDefined()
        expect(URL.parse(url)).not.toBeNull()
      },
    ),
    { numRuns: 3000 },
  )
})
