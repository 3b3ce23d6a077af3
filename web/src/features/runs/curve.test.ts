import { expect, test } from 'vitest'

import { joined, lines, summed, type Points } from './curve'

const WAY = { amount: 0, logarithmic: false, by: 'step' } as const
const LOOK = { name: 'loss', colour: 0 }
const MEASURED: Points = [[1, 0.929], [2, 1.8], [3, 'NaN'], [4, 1.2]]

test('the line of a figure is what was measured, whatever is smoothed beside it', () => {
  const smoothed = { amount: 0.6, series: { loss: [[1, 0.929], [2, 1.457], [4, 1.31]] as Points } }
  for (const answer of [{ series: { loss: MEASURED } }, { series: { loss: MEASURED }, smoothed }]) {
    const [measured] = lines('loss', answer, { ...WAY, amount: answer.smoothed ? 0.6 : 0 }, LOOK)
    expect(measured).toEqual({ xs: [1, 2, 3, 4], ys: [0.929, 1.8, null, 1.2], series: LOOK })
  }
  const [, second] = lines('loss', { series: { loss: MEASURED }, smoothed }, { ...WAY, amount: 0.6 }, LOOK)
  expect(second).toEqual({ xs: [1, 2, 4], ys: [0.929, 1.457, 1.31], series: { name: 'loss (smoothed 0.6)', colour: 0, smoothed: true } })
})

test('a smoothed line says the amount of the answer, not the one that is being asked for', () => {
  const answer = { series: { loss: MEASURED }, smoothed: { amount: 0.6, series: { loss: [[1, 1]] as Points } } }
  expect(lines('loss', answer, { ...WAY, amount: 0.9 }, LOOK).map((line) => line.series.name)).toEqual(['loss', 'loss (smoothed 0.6)'])
  expect(lines('loss', answer, WAY, LOOK).map((line) => line.series.name)).toEqual(['loss'])
})

test('evaluations and figures without noise are not smoothed', () => {
  const points: Points = [[1, 1], [2, 2]]
  for (const key of ['eval_loss', 'epoch', 'learning_rate']) {
    const answer = { series: { [key]: points }, smoothed: { amount: 0.6, series: { [key]: points } } }
    expect(lines(key, answer, { ...WAY, amount: 0.6 }, { name: key, colour: 1 })).toHaveLength(1)
  }
})

test('a smoothed line lies along the same axis as the measured one', () => {
  const series = { loss: [[1, 3], [2, 2]] as Points, step_seconds: [[1, 10], [2, 10]] as Points }
  const found = lines('loss', { series, smoothed: { amount: 0.5, series: { loss: series.loss } } }, { ...WAY, amount: 0.5, by: 'time' }, LOOK)
  expect(found.map((line) => line.xs)).toEqual([[10, 20], [10, 20]])
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
