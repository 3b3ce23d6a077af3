/** Values of a gate's metric as people read and write them: shares are points of 100 on screens. */
import type { Schemas } from '../../api/client'
import { number, percent } from '../../parts/format'
import { evaluation as text } from '../../text'

export type Metric = Schemas['BaselineView']['metric']

export function amount(value: number | null, metric: Metric): string {
  if (value === null) return text.none
  return metric === 'score' ? percent(value) : `${number(value)} ${text.gates.units[metric]}`
}

/** A difference, with its sign. */
export function change(value: number, metric: Metric): string {
  if (metric === 'score') return text.points(value)
  return `${value < 0 ? '−' : '+'}${number(Math.abs(value))} ${text.gates.units[metric]}`
}

/** What was typed in the metric's unit, as the API takes it; null: no number. */
export function fromTyped(typed: string, metric: Metric): number | null {
  const value = Number(typed)
  if (typed.trim() === '' || !Number.isFinite(value) || value < 0) return null
  // Not 0.07 * 100 = 7.000000000000001: what stands in the command is read by people.
  return metric === 'score' ? Number((value / 100).toPrecision(12)) : value
}
