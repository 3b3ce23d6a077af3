/** What a training answered, prompt by prompt along its steps, worked out from the rows that the API gives. */
import type { Schemas } from '../../api/client'

export type Sample = Schemas['SampleView']

export interface Timeline {
  prompt: string
  /** Its answers by step. */
  at: ReadonlyMap<number, Sample>
}

export interface Timelines {
  /** In the order in which they are asked. */
  prompts: Timeline[]
  /** Ascending. */
  steps: number[]
}

export function timelines(rows: readonly Sample[]): Timelines {
  const prompts = new Map<string, Map<number, Sample>>()
  for (const row of rows) {
    const known = prompts.get(row.prompt) ?? new Map<number, Sample>()
    if (!known.has(row.step)) known.set(row.step, row) // pages may overlap while samples are added
    prompts.set(row.prompt, known)
  }
  const steps = [...new Set(rows.map((row) => row.step))].sort((a, b) => a - b)
  return { prompts: [...prompts].map(([prompt, at]) => ({ prompt, at })), steps }
}

/** The step that the address names, or the nearest known one before it; without one the newest. */
export function chosen(steps: readonly number[], asked: string): number | undefined {
  if (asked === '' || !Number.isFinite(Number(asked))) return steps.at(-1)
  return steps.filter((step) => step <= Number(asked)).at(-1) ?? steps[0]
}

/** The known step before one. */
export const before = (steps: readonly number[], step: number | undefined): number | undefined =>
  step === undefined ? undefined : steps.filter((each) => each < step).at(-1)
