/** What a chart draws, worked out from the points that the API gives. */
import type { Series } from '../../parts/Chart'
import { runs as text } from '../../text'

export type Point = readonly [number, number | string]
export type Points = readonly (readonly [step: number, value: number | 'NaN' | 'Infinity' | '-Infinity'])[]
export type Axis = 'step' | 'time' | 'tokens'

export const value = (x: number | string): number | null => (typeof x === 'number' && Number.isFinite(x) ? x : null)

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

/** What the API gives of a run's figures: measured points and, where it was asked for them, smoothed ones. */
export interface Answer {
  series: Record<string, Points>
  smoothed?: { amount: number; series: Record<string, Points> } | null
}

/** How curves are drawn: smoothed by how much (0: not), on which scale, along what. */
export interface Way {
  amount: number
  logarithmic: boolean
  by: Axis
}

export interface Line {
  xs: number[]
  ys: (number | null)[]
  series: Series
}

/** Figures without noise, of which a mean says nothing. */
const EVEN = new Set(['epoch', 'learning_rate'])

/** The measured line of a figure and, beneath its label, the smoothed one: never one in place of the other. */
export function lines(key: string, answer: Answer, way: Way, look: Omit<Series, 'smoothed'>): Line[] {
  const drawn = (points: Points, series: Series): Line => ({ ...along(points, answer.series, way), series })
  const measured = answer.series[key] ?? []
  if (measured.length === 0) return []
  const { smoothed } = answer
  const averages = smoothed?.series[key] ?? []
  const own = drawn(measured, look)
  // An evaluation is a mean already.
  if (way.amount === 0 || !smoothed || averages.length === 0 || key.startsWith('eval_') || EVEN.has(key)) return [own]
  return [own, drawn(averages, { name: text.curves.smoothed(look.name, smoothed.amount), colour: look.colour, smoothed: true })]
}

/** Points along the chosen axis; a logarithm has no place for what is not above 0. */
function along(points: Points, series: Record<string, Points>, { by, logarithmic }: Way): Pick<Line, 'xs' | 'ys'> {
  const source = by === 'time' ? series['step_seconds'] : by === 'tokens' ? series['tokens'] : undefined
  const at = by === 'step' ? (step: number) => step : summed(source ?? [])
  return {
    xs: points.map(([step]) => at(step) ?? step),
    ys: points.map(([, y]) => value(y)).map((y) => (logarithmic && y !== null && y <= 0 ? null : y)),
  }
}
