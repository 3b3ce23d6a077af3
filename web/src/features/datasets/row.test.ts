import { expect, test } from 'vitest'

import { countsOf, runsOf, visible } from './row'

test('a row is cut, read, learnt, read again and filled up', () => {
  const runs = runsOf({ token_count: 12, truncated: 2, start: 5, stop: 11 }, 16)
  expect(runs).toEqual([
    { kind: 'truncated', from: 0, to: 2 },
    { kind: 'context', from: 2, to: 5 },
    { kind: 'supervised', from: 5, to: 11 },
    { kind: 'context', from: 11, to: 12 },
    { kind: 'padding', from: 12, to: 18 },
  ])
  // truncated tokens are not part of the padded row: 10 kept and 6 padding make 16
  expect(countsOf(runs)).toEqual({ truncated: 2, context: 4, supervised: 6, padding: 6 })
})

test('without a width there is no padding, and empty runs are left out', () => {
  expect(runsOf({ token_count: 5, truncated: 0, start: 2, stop: 5 }, null).map((run) => run.kind)).toEqual(['context', 'supervised'])
  expect(runsOf({ token_count: 5, truncated: 0, start: 2, stop: 5 }, 5)).toHaveLength(2)
})

test('every token can be seen', () => {
  expect([' the', '\n', '\t', ''].map(visible)).toEqual(['·the', '⏎', '⇥', '∅'])
})
