/** What a comparison of runs says, worked out from what the API gives of each. */
import type { Schemas } from '../../api/client'
import { sameValue } from './config'
import { value, type Points } from './curve'

type Evaluation = Schemas['EvaluationView']

/** A line of each run: with its colour and its dashes they are told apart without colour too. */
export const DASHES: readonly (readonly number[])[] = [[], [9, 4], [2, 3], [10, 3, 2, 3], [5, 5], [14, 5], [2, 7], [7, 3, 2, 3, 2, 3]]
export const MOST = DASHES.length

export interface ConfigRow {
  key: string
  values: unknown[]
  differs: boolean
}

/** Flat configs side by side, in the order of their keys. */
export function configRows(configs: readonly Record<string, unknown>[]): ConfigRow[] {
  const keys = [...new Set(configs.flatMap((config) => Object.keys(config)))]
  return keys.map((key) => {
    const values = configs.map((config) => config[key])
    return { key, values, differs: values.some((each) => !sameValue(each, values[0])) }
  })
}

/** The lowest value of a series, and the first step that has it. */
export function lowest(points: Points): { step: number; value: number } | null {
  let found: { step: number; value: number } | null = null
  for (const [step, raw] of points) {
    const each = value(raw)
    if (each !== null && (found === null || each < found.value)) found = { step, value: each }
  }
  return found
}

export const last = (points: Points): number | string | null => points.at(-1)?.[1] ?? null

/** Tokens of all steps over their seconds. Where points were left out, the others stand for them. */
export function tokensPerSecond(tokens: Points, seconds: Points): number | null {
  const took = new Map(seconds.map(([step, each]) => [step, value(each)]))
  let [all, time] = [0, 0]
  for (const [step, raw] of tokens) {
    const [count, each] = [value(raw), took.get(step)]
    if (count === null || each === null || each === undefined) continue
    all += count
    time += each
  }
  return time > 0 ? all / time : null
}

const PARTS = ['eval_set_digest', 'judge_digest', 'decoding_digest'] as const
export type Part = (typeof PARTS)[number]

export interface Pair {
  base: Evaluation
  other: Evaluation
}

const same = (a: Evaluation, b: Evaluation) => PARTS.every((part) => a[part] === b[part])

/** The newest evaluations of two runs on each board that both are on; lists are newest first. */
export function pairs(base: readonly Evaluation[], other: readonly Evaluation[]): Pair[] {
  const found: Pair[] = []
  for (const one of base) {
    const two = other.find((each) => same(one, each))
    if (two && !found.some((pair) => same(pair.base, one))) found.push({ base: one, other: two })
  }
  return found
}

/** Where the two evaluations that are most alike differ: why there is no board that both are on. */
export function apart(base: readonly Evaluation[], other: readonly Evaluation[]): { pair: Pair; parts: Part[] } | null {
  let found: { pair: Pair; parts: Part[] } | null = null
  for (const one of base)
    for (const two of other) {
      const parts = PARTS.filter((part) => one[part] !== two[part])
      if (found === null || parts.length < found.parts.length) found = { pair: { base: one, other: two }, parts }
    }
  return found
}
