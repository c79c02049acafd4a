import { describe, expect, test } from 'vitest'
import type { Delivery, DeliveryAttempt } from '../../src/core/callback.ts'
import { givenUp, toCallback, tried } from '../../src/core/callback.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const NOW = Date.UTC(2026, 10, 21, 12)

const pending: Delivery = {
  id: 'msg_1',
  invocationId: 'id-1',
  functionName: 'test',
  callback: { url: 'http://receiver.test/', format: 'envelope' },
  state: 'pending',
  createdAt: NOW,
  dueAt: NOW,
  tries: 0,
  attempts: [],
}
const answered = (status: number): DeliveryAttempt => ({ at: NOW, latencyMs: 1, status })
const unanswered: DeliveryAttempt = { at: NOW, latencyMs: 1, error: 'ECONNREFUSED' }

/** How long `pending` waits after an attempt; undefined: it is dead. */
function waitAfter(attempt: DeliveryAttempt, retryAfter?: string, tries = 0, random = 0.5) {
  const { state, dueAt } = tried({ ...pending, tries }, attempt, retryAfter, NOW, random)
  return state === 'pending' ? dueAt - NOW : undefined
}

describe('a delivery', () => {
  test.each([200, 202, 204, 299])('that is answered with %i is delivered', (status) => {
    const attempt = answered(status)
    expect(tried(pending, attempt, '120', NOW, 0.5)).toEqual({
      ...pending,
      state: 'delivered',
      tries: 1,
      attempts: [attempt],
    })
  })

  test.each([301, 307, 400, 401, 404, 410, 422, 499])('answered with %i is dead', (status) => {
    expect(tried(pending, answered(status), '120', NOW, 0.5)).toMatchObject({
      state: 'dead',
      tries: 1,
      attempts: [{ status }],
    })
  })

  test.each([408, 425, 429, 500, 502, 503, 504, 599])('answered with %i waits', (status) => {
    expect(waitAfter(answered(status))).toBe(5 * SECOND)
  })

  test('that nobody answers waits, and keeps each attempt with its error', () => {
    const first = tried(pending, unanswered, undefined, NOW, 0.5)
    const second = tried(first, answered(503), undefined, NOW + 5000, 0.5)
    expect(second).toEqual({
      ...pending,
      dueAt: NOW + 35_000,
      tries: 2,
      attempts: [unanswered, answered(503)],
    })
  })

  test('that is tried again and again keeps its last 50 attempts', () => {
    let delivery = pending
    for (let at = 1; at <= 60; at += 1) {
      delivery = tried({ ...delivery, tries: 0 }, { at, latencyMs: 1 }, undefined, NOW, 0.5)
    }
    const kept = givenUp(delivery, { at: 61, latencyMs: 1 }).attempts.map(({ at }) => at)
    expect(kept).toEqual(Array.from({ length: 50 }, (_, index) => 12 + index))
  })

  test('that is given up is dead, though nobody answered', () => {
    expect(givenUp(pending, unanswered)).toEqual({
      ...pending,
      state: 'dead',
      tries: 1,
      attempts: [unanswered],
    })
  })

  test('is tried eight times in some 17 hours, each delay off by 20 % at most', () => {
    const delays = [5 * SECOND, 30 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR]
    for (const [tries, delay] of delays.entries()) {
      const waits = [0, 0.5, 1].map((random) => waitAfter(unanswered, undefined, tries, random))
      expect(waits).toEqual([delay * 0.8, delay, delay * 1.2].map(Math.round))
    }
    expect(waitAfter(unanswered, undefined, delays.length)).toBeUndefined()
    expect(waitAfter(unanswered, '60', delays.length)).toBeUndefined()
  })
})

describe('Retry-After', () => {
  test.each([
    ['a number of seconds', '90', 90 * SECOND],
    ['a date', new Date(NOW + 10 * MINUTE).toUTCString(), 10 * MINUTE],
    ['less than the schedule', '1', 5 * SECOND],
    ['a date that has been', new Date(NOW - HOUR).toUTCString(), 5 * SECOND],
    ['0', '0', 5 * SECOND],
    ['no time at all', 'soon', 5 * SECOND],
    ['a negative number', '-90', 5 * SECOND],
    ['nothing', '', 5 * SECOND],
    ['more than a day', '31536000', 24 * HOUR],
    ['more than any number', '9'.repeat(400), 24 * HOUR],
    ['a date in years', new Date(NOW + 9999 * HOUR).toUTCString(), 24 * HOUR],
  ])('of %s is taken for what it is worth', (_, retryAfter, wait) => {
    expect(waitAfter(answered(503), retryAfter)).toBe(wait)
    expect(waitAfter(answered(429), retryAfter)).toBe(wait)
  })
})

describe('the target', () => {
  const url = 'https://by-default.test/'
  test('is what the request names, in the form that the definition says', () => {
    expect(toCallback({ url, format: 'raw' }, 'http://asked.test/')).toEqual({
      url: 'http://asked.test/',
      format: 'raw',
    })
    expect(toCallback(undefined, 'http://asked.test/')).toEqual({
      url: 'http://asked.test/',
      format: 'envelope',
    })
  })

  test('is the one of the definition if the request names none', () => {
    expect(toCallback({ url, format: 'cloudevents' }, undefined)).toEqual({
      url,
      format: 'cloudevents',
    })
  })

  test('is none if neither names one', () => {
    expect(toCallback({ format: 'raw' }, undefined)).toBeUndefined()
    expect(toCallback(undefined, undefined)).toBeUndefined()
  })
})
