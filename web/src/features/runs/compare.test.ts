import { expect, test } from 'vitest'

import type { Schemas } from '../../api/client'
import { apart, configRows, DASHES, last, lowest, MOST, pairs, tokensPerSecond } from './compare'

const evaluation = (id: string, set: string, judge = 'exact') =>
  ({ id, eval_set_digest: set, judge_digest: judge, decoding_digest: 'greedy' }) as Schemas['EvaluationView']

test('a key that any of the runs has stands once, and differs where one differs', () => {
  expect(configRows([{ seed: 1, lr: 0.1 }, { seed: 1, lr: 0.2, samples: 2 }, { seed: 1, lr: 0.1 }])).toEqual([
    { key: 'seed', values: [1, 1, 1], differs: false },
    { key: 'lr', values: [0.1, 0.2, 0.1], differs: true },
    { key: 'samples', values: [undefined, 2, undefined], differs: true },
  ])
})

test('the lowest value has its first step, and what is no number is passed over', () => {
  expect(lowest([[1, 2], [2, 'NaN'], [3, 0.5], [4, 0.5]])).toEqual({ step: 3, value: 0.5 })
  expect(lowest([[1, 'NaN']])).toBeNull()
  expect([last([[1, 2], [2, 'NaN']]), last([])]).toEqual(['NaN', null])
})

test('the speed is all tokens over all seconds, not the mean of speeds', () => {
  expect(tokensPerSecond([[1, 100], [2, 100], [3, 50]], [[1, 4], [2, 1]])).toBe(40)
  expect(tokensPerSecond([[1, 100]], [])).toBeNull()
})

test('evaluations are paired on each board by their newest; else it is said what keeps them apart', () => {
  const base = [evaluation('a2', 'sums'), evaluation('a1', 'sums'), evaluation('a0', 'words')]
  const other = [evaluation('b1', 'words'), evaluation('b0', 'sums')]
  expect(pairs(base, other).map((pair) => [pair.base.id, pair.other.id])).toEqual([['a2', 'b0'], ['a0', 'b1']])
  expect(pairs(base, [])).toEqual([])
  const found = apart([evaluation('a', 'sums'), evaluation('b', 'words')], [evaluation('c', 'words', 'numeric')])
  expect([found?.pair.base.id, found?.parts]).toEqual(['b', ['judge_digest']])
  expect(apart([], other)).toBeNull()
})

test('no two runs are drawn by the same line', () => {
  expect(new Set(DASHES.map(String)).size).toBe(MOST)
})
