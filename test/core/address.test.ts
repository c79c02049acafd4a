import { describe, expect, test } from 'vitest'
import { findClient, isLoopback, parseNetworks, toCounted } from '../../src/core/address.ts'

describe('who sends a request', () => {
  const { networks: trusted } = parseNetworks('127.0.0.1, 10.0.0.0/8 [fd00::]/8 ::1')

  test.each<[string, string | undefined, string | undefined, string | undefined]>([
    ['its peer, if nothing else is said', '192.0.2.1', undefined, '192.0.2.1'],
    ['its peer, if that is not trusted', '192.0.2.1', '198.51.100.1', '192.0.2.1'],
    ['whom a proxy names', '127.0.0.1', '198.51.100.1', '198.51.100.1'],
    [
      'the rightmost that is no proxy',
      '10.1.1.1',
      '1.1.1.1, 198.51.100.1, 10.2.2.2',
      '198.51.100.1',
    ],
    ['the leftmost, if all are proxies', '10.1.1.1', '10.3.3.3, 10.2.2.2', '10.3.3.3'],
    ['IPv4 written as IPv6', '::ffff:127.0.0.1', '::ffff:198.51.100.1', '198.51.100.1'],
    ['IPv6', '::1', '2001:db8::1', '2001:db8::1'],
    ['the last that can be read', '10.1.1.1', '198.51.100.1, nonsense, 10.2.2.2', '10.2.2.2'],
    ['the peer, if nothing can be read', '10.1.1.1', 'unknown', '10.1.1.1'],
    ['no odd spelling', '10.1.1.1', '0x7f.1', '10.1.1.1'],
    ['nobody, once the connection has gone', undefined, '198.51.100.1', undefined],
  ])('is %s', (_, peer, forwarded, client) => {
    expect(findClient(peer, forwarded, trusted)).toBe(client)
  })

  test('is its peer where no proxy is trusted', () => {
    expect(findClient('127.0.0.1', '198.51.100.1', [])).toBe('127.0.0.1')
  })
})

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2:ffff::1', '2001:db8:1:2::/64'],
  ['::1', '::/64'],
])('%s is counted as %s', (address, counted) => {
  expect(toCounted(address)).toBe(counted)
})

test.each([
  '127.0.0.1',
  '127.9.9.9',
  '::1',
  '[::1]',
  'localhost',
  'LOCALHOST',
  'a.localhost',
  'localhost.',
  '::ffff:127.0.0.1',
])('%s is loopback', (host) => {
  expect(isLoopback(host)).toBe(true)
})

test.each([
  '0.0.0.0',
  '::',
  '10.0.0.1',
  'localhost.example.com',
  'example.com',
  '',
  '127.1',
  '2130706433',
  '128.0.0.1',
])('%s is not', (host) => {
  expect(isLoopback(host)).toBe(false)
})

test('what is no address or network is named', () => {
  expect(parseNetworks('10.0.0.0/8 10.0.0.0/33, host ::/129').wrong).toEqual([
    '10.0.0.0/33',
    'host',
    '::/129',
  ])
})
