/** What a chart draws, worked out from the points that the API gives. */
export type Point = readonly [number, number | string]
export type Points = readonly (readonly [step: number, value: number | 'NaN' | 'Infinity' | '-Infinity'])[]
export type Axis = 'step' | 'time' | 'tokens'

export const value = (x: number | string): number | null => (typeof x === 'number' && Number.isFinite(x) ? x : null)

/** An exponential mean, each point weighted by the steps since the one before; `amount` 0 (none) to 1.
 *
 * What is missing stays missing, and the beginning is not drawn towards 0.
 */
export function smoothed(steps: readonly number[], values: readonly (number | null)[], amount: number): (number | null)[] {
  if (amount <= 0 || steps.length < 3) return [...values]
  const span = (steps.at(-1) ?? 0) - (steps[0] ?? 0) || 1
  const reach = (span * amount * amount) / 4 // in steps: what lies farther back weighs less than a third
  let mean: number | null = null
  let weight = 0
  let last = steps[0] ?? 0
  return values.map((each, place) => {
    if (each === null) return null
    const step = steps[place] ?? last
    const fade = Math.exp(-Math.max(step - last, 1e-9) / reach)
    last = step
    weight = weight * fade + (1 - fade || 1e-12)
    mean = mean === null ? each : mean + ((1 - fade || 1e-12) / weight) * (each - mean)
    return mean
  })
}

/** For each step how much of a per-step figure there was up to it: seconds from `step_seconds`, tokens from `tokens`.
 *
 * The points are thinned: between two of them every step counts as their mean.
 */
export function summed(points: Points): (step: number) => number | null {
  const steps: number[] = []
  const sums: number[] = []
  let sum = 0
  let before: [number, number] | null = null
  for (const [step, raw] of points) {
    const each = value(raw)
    if (each === null) continue
    sum += before === null ? each * Math.max(1, step) : ((before[1] + each) / 2) * (step - before[0])
    before = [step, each]
    steps.push(step)
    sums.push(sum)
  }
  return (step) => {
    if (steps.length === 0) return null
    let low = 0
    let high = steps.length - 1
    if (step <= (steps[0] ?? 0)) return ((sums[0] ?? 0) * step) / Math.max(1, steps[0] ?? 1)
    if (step >= (steps[high] ?? 0)) return sums[high] ?? null
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((steps[middle] ?? 0) <= step) low = middle
      else high = middle
    }
    const [a, b] = [steps[low] ?? 0, steps[high] ?? 0]
    const share = b > a ? (step - a) / (b - a) : 0
    return (sums[low] ?? 0) + share * ((sums[high] ?? 0) - (sums[low] ?? 0))
  }
}

/** Several series on one axis of x, as uPlot wants them: null where a series has no point. */
export function joined(series: readonly { xs: readonly number[]; ys: readonly (number | null)[] }[]): (number | null)[][] {
  const all = [...new Set(series.flatMap((each) => each.xs))].sort((a, b) => a - b)
  const place = new Map(all.map((x, at) => [x, at]))
  return [
    all,
    ...series.map(({ xs, ys }) => {
      const row: (number | null)[] = new Array<null>(all.length).fill(null)
      xs.forEach((x, at) => {
        row[place.get(x) ?? 0] = ys[at] ?? null
      })
      return row
    }),
  ]
}
