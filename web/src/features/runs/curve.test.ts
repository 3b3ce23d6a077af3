import { expect, test } from 'vitest'

import { joined, smoothed, summed } from './curve'

test('smoothing leaves a constant as it is, keeps gaps, and lies between the extremes', () => {
  const steps = Array.from({ length: 50 }, (_, step) => step)
  for (const each of smoothed(steps, steps.map(() => 3), 0.6)) expect(each).toBeCloseTo(3)
  const ragged = steps.map((step) => (step === 10 ? null : step % 2))
  const found = smoothed(steps, ragged, 0.6)
  expect(found[10]).toBeNull()
  expect(Math.abs((found.at(-1) ?? 0) - 0.5)).toBeLessThan(0.3)
  expect(smoothed(steps, ragged, 0)).toEqual(ragged)
})

test('seconds of steps add up, also where points were thinned', () => {
  const all = summed([[1, 2], [2, 2], [3, 2], [4, 2]])
  const thin = summed([[1, 2], [4, 2]])
  for (const step of [1, 2, 3, 4]) expect([all(step), thin(step)]).toEqual([2 * step, 2 * step])
  expect(summed([])(3)).toBeNull()
})

test('series with points of their own share an axis', () => {
  expect(joined([{ xs: [1, 3], ys: [10, 30] }, { xs: [2, 3], ys: [5, null] }])).toEqual([[1, 2, 3], [10, null, 30], [null, 5, null]])
})
