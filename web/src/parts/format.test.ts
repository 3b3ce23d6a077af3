import { expect, test } from 'vitest'

import { bytes, duration, number, percent, relative, shortId } from './format'

test('sizes, durations and figures are short', () => {
  expect([bytes(0), bytes(1536), bytes(3 * 2 ** 30)]).toEqual(['0 B', '1.50 KiB', '3.00 GiB'])
  expect([duration(0), duration(0.25), duration(75), duration(3600), duration(90061)]).toEqual(['0 s', '0.25 s', '1 min 15 s', '1 h', '1 d 1 h'])
  expect([number(1234567), number(0.00012345), number(1.23456), number('NaN'), number(null)]).toEqual(['1,234,567', '1.23e-4', '1.235', 'NaN', '–'])
  expect([percent(0.1234), percent(null)]).toEqual(['12.3 %', '–'])
})

test('a time is told from now, in both directions', () => {
  const now = new Date('2026-01-02T00:00:00Z')
  const at = (text: string) => relative(new Date(text), now)
  expect(at('2026-01-01T23:59:55Z')).toBe('just now')
  expect(at('2026-01-01T23:57:00Z')).toBe('3 min ago')
  expect(at('2026-01-02T02:00:00Z')).toBe('in 2 h')
  expect(at('2025-12-30T00:00:00Z')).toBe('3 d ago')
})

test('a short id keeps the end, which tells ids of one minute apart', () => {
  expect(shortId('019ab3f2-1111-7000-8000-00000000abcd')).toBe('019ab3f2…abcd')
})
