/** A row of tokens as runs of one kind, for drawing and counting. */
import type { Schemas } from '../../api/client'

export type Kind = 'truncated' | 'context' | 'supervised' | 'padding'
export type TokenRow = Schemas['TokenRow']

export interface Run {
  kind: Kind
  /** The first token's place in the row, and one past the last. */
  from: number
  to: number
}

/** What each token of a row is for; `width` is what the row is padded to, where that is known. */
export function runsOf(row: Pick<TokenRow, 'token_count' | 'truncated' | 'start' | 'stop'>, width: number | null): Run[] {
  const kept = row.token_count - row.truncated
  const runs: Run[] = [
    { kind: 'truncated', from: 0, to: row.truncated },
    { kind: 'context', from: row.truncated, to: row.start },
    { kind: 'supervised', from: row.start, to: row.stop },
    { kind: 'context', from: row.stop, to: row.token_count },
    { kind: 'padding', from: row.token_count, to: row.token_count + Math.max(0, (width ?? kept) - kept) },
  ]
  return runs.filter((run) => run.to > run.from)
}

export function countsOf(runs: readonly Run[]): Record<Kind, number> {
  const counts: Record<Kind, number> = { supervised: 0, context: 0, truncated: 0, padding: 0 }
  for (const run of runs) counts[run.kind] += run.to - run.from
  return counts
}

/** A token as it can be seen: spaces, tabs and line ends have signs. */
export function visible(piece: string): string {
  return piece === '' ? '∅' : piece.replaceAll(' ', '·').replaceAll('\t', '⇥').replaceAll('\r', '␍').replaceAll('\n', '⏎')
}
