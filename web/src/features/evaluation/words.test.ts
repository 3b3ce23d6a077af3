import { expect, test } from 'vitest'

import type { Schemas } from '../../api/client'
import { evaluation as text } from '../../text'
import { sharing, type BoardRow } from './Board'
import { reach } from './Difference'
import { asked } from './Leaderboard'
import { amount, change, fromTyped } from './metric'
import { decoding, probability, range, rule, scale } from './words'

const NOTHING: Schemas['Decoding'] = { temperature: null, top_p: null, top_k: null, max_new_tokens: null, samples: null, seed: null }

test('decoding is said in words, and that it is not known', () => {
  const said = (of: Partial<Schemas['Decoding']>, digest: string) => decoding({ decoding: { ...NOTHING, ...of }, decoding_digest: digest })
  expect(said({}, 'unknown')).toBe('decoding unknown')
  expect(said({}, `sha256:${'0123456789abcdef'.repeat(4)}`)).toBe('decoding sha256:0123456789ab')
  expect(said({ temperature: 0, max_new_tokens: 256, samples: 1 }, 'sha256:')).toBe('greedy, at most 256 new tokens')
  expect(said({ temperature: 0, max_new_tokens: 256 }, 'sha256:')).toBe('greedy, at most 256 new tokens, samples not stated')
  expect(said({ temperature: 0.8, samples: 4, seed: 3 }, 'sha256:')).toBe('temperature 0.8, 4 samples an item')
})

test('a rule is said in words, an unknown one as it is called', () => {
  expect(rule('hashes.one_number')).toBe('behind ####, the only number in it')
  expect(rule('theirs')).toBe('theirs')
})

test('the axis of a board holds every interval, and is never a point', () => {
  expect(scale([[0.31, 0.42], null, [0.61, 0.74]])).toEqual([0.3, 0.75])
  expect(scale([])).toEqual([0, 1])
  const [from, to] = scale([[0.98, 1]])
  expect(to).toBe(1)
  expect(to - from).toBeGreaterThanOrEqual(0.1)
})

test('p is never shown as nothing', () => {
  expect(probability(0)).toBe('< 0.0001')
  expect(probability(0.00067)).toBe('0.0007')
  expect(probability(0.0164)).toBe('0.016')
  expect(probability(null)).toBe('–')
})

test('an interval and points have their signs and digits', () => {
  expect(range([0.1234, 0.5])).toBe('12.3 % – 50.0 %')
  expect(text.points(-0.0216)).toBe('−2.2 points')
  expect(text.points(0.02)).toBe('+2 points')
  expect(text.points(-0.00001)).toBe('+0 points')
})

test('rows that share a rank are counted, rows without one are not', () => {
  const rows = [1, 2, 2, 2, 5, null, null].map((rank) => ({ rank }) as BoardRow)
  expect([...sharing(rows)]).toEqual([[1, 1], [2, 3], [5, 1]])
})

test('a margin in points is the share that was meant, without the dust of floating point', () => {
  expect(fromTyped('7', 'score')).toBe(0.07)
  expect(fromTyped('2.5', 'latency_s')).toBe(2.5)
  expect(fromTyped('', 'score')).toBeNull()
  expect(fromTyped('-1', 'score')).toBeNull()
  expect(fromTyped('x', 'score')).toBeNull()
})

test('values of a metric carry their unit', () => {
  expect(amount(0.397, 'score')).toBe('39.7 %')
  expect(amount(55.25, 'completion_tokens')).toBe('55.25 tokens')
  expect(change(-0.5, 'latency_s')).toBe('−0.5 s')
})

test('the axis of a difference reaches beyond all that is drawn', () => {
  expect(reach([0.1, -0.2, null])).toBeCloseTo(0.23)
  expect(reach([0, null])).toBe(1)
})

test('days of the address are whole days', () => {
  const place = { get: (name: string) => ({ date_from: '2026-01-02', date_to: '2026-01-03' })[name] ?? '' }
  expect(asked(place)).toMatchObject({ date_from: '2026-01-02T00:00:00Z', date_to: '2026-01-03T23:59:59.999999Z', judge: '' })
})
