import { expect, test } from 'vitest'

import { before, chosen, timelines, type Sample } from './samples'

const row = (step: number, prompt: string, output: string): Sample => ({ step, prompt, output, finish_reason: 'stop', created_at: null })
const ROWS = [row(20, 'b', '4'), row(20, 'a', '3'), row(10, 'b', '2'), row(10, 'b', 'twice'), row(5, 'a', '1')]

test('answers are put together by prompt, in the order in which they are asked', () => {
  const found = timelines(ROWS)
  expect(found.steps).toEqual([5, 10, 20])
  expect(found.prompts.map(({ prompt, at }) => [prompt, [...at].map(([step, { output }]) => [step, output])])).toEqual([
    ['b', [[20, '4'], [10, '2']]],
    ['a', [[20, '3'], [5, '1']]],
  ])
})

test('the step of the address is shown, or the last one before it, or the newest', () => {
  const { steps } = timelines(ROWS)
  expect(['', '10', '12', '1', 'nonsense'].map((asked) => chosen(steps, asked))).toEqual([20, 10, 10, 5, 20])
  expect([20, 5, undefined].map((step) => before(steps, step))).toEqual([10, undefined, undefined])
  expect(chosen([], '3')).toBeUndefined()
})
