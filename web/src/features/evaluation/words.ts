/** What several pages of the evaluation say of the same figures. */
import type { Schemas } from '../../api/client'
import type { Tone } from '../../parts/Badge'
import { number, percent } from '../../parts/format'
import { evaluation as text } from '../../text'

export type Evaluation = Schemas['EvaluationView']
export type Outcome = Schemas['ItemView']['outcome']

export const OUTCOMES: Record<Outcome, Tone> = { correct: 'good', wrong: 'bad', missing: 'warn', unscored: 'off' }

/** The digest of the decoding of predictions that say nothing of it. */
const UNKNOWN = 'unknown'

/** How predictions were decoded: by its parameters, else by its digest. */
export function decoding({ decoding: of, decoding_digest: digest }: Pick<Evaluation, 'decoding' | 'decoding_digest'>): string {
  const words = [
    of.temperature === 0 ? text.decoding.greedy : typeof of.temperature === 'number' && text.decoding.temperature(of.temperature),
    typeof of.top_p === 'number' && text.decoding.topP(of.top_p),
    typeof of.top_k === 'number' && text.decoding.topK(of.top_k),
    typeof of.max_new_tokens === 'number' && text.decoding.tokens(of.max_new_tokens),
    typeof of.samples === 'number' && of.samples > 1 && text.decoding.samples(of.samples),
  ].filter((word) => typeof word === 'string')
  if (typeof of.samples === 'number') return words.join(', ') || text.decoding.samples(of.samples)
  if (words.length > 0) return [...words, text.decoding.samplesUnknown].join(', ')
  return digest === UNKNOWN ? text.decoding.unknown : text.decoding.digest(digest.slice(0, 19))
}

/** `hashes.one_number` in words. */
export function rule(name: string): string {
  const [first = '', ...more] = name.split('.')
  return [text.rules[first] ?? first, ...more.map((one) => text.ruleMore[one] ?? one)].join(', ')
}

/** A range on the scale of shares that holds all the intervals, with room, in steps of a twentieth. */
export function scale(intervals: readonly (readonly [number, number] | null | undefined)[]): [number, number] {
  const some = intervals.filter((one) => one !== null && one !== undefined)
  if (some.length === 0) return [0, 1]
  const from = Math.max(0, Math.floor(Math.min(...some.map((one) => one[0])) * 20) / 20)
  const to = Math.min(1, Math.ceil(Math.max(...some.map((one) => one[1])) * 20) / 20)
  return to - from < 0.1 ? [Math.max(0, from - 0.05), Math.min(1, to + 0.05)] : [from, to]
}

export const range = (ci: readonly [number, number] | null): string => (ci ? `${percent(ci[0])} – ${percent(ci[1])}` : text.none)

/** p as people read it: never 0. */
export function probability(p: number | null): string {
  if (p === null) return text.none
  return p < 0.0001 ? '< 0.0001' : p < 0.001 ? p.toFixed(4) : number(Number(p.toPrecision(2)))
}

/** Evaluations that may be compared have the same. */
export const boardOf = (of: Evaluation): string => `${of.eval_set_digest} ${of.judge_digest} ${of.decoding_digest}`

/** What is asked again when an evaluation is added or changed. */
export const CHANGES = ['/api/evaluations', '/api/evaluations/{evaluation_id}', '/api/tunix/evaluations']
