import { useQueries } from '@tanstack/react-query'
import { useMemo } from 'react'

import { get } from '../../api/client'
import { keyOf, useGet } from '../../api/hooks'
import { percent, relative } from '../../parts/format'
import { evaluation as text } from '../../text'
import { boardOf, decoding, type Evaluation } from './words'

export interface Choices {
  rows: Evaluation[]
  /** By its id or the beginning of it. */
  of: (id: string) => Evaluation | undefined
}

const NONE: Evaluation[] = []

/** The newest evaluations, those that are named though they are older, and the board of the first that is named. */
export function useChoices(first: string, ...others: string[]): Choices {
  const newest = useGet('/api/evaluations', { query: { limit: 200 } })
  const known = newest.data?.data ?? NONE
  const missing = [first, ...others].filter((id) => id !== '' && newest.data !== undefined && !known.some((row) => row.id.startsWith(id)))
  const asked = useQueries({
    queries: missing.map((id) => {
      const call = { at: { evaluation_id: id } }
      return {
        queryKey: keyOf('/api/evaluations/{evaluation_id}', call),
        queryFn: ({ signal }: { signal: AbortSignal }) => get('/api/evaluations/{evaluation_id}', { ...call, signal }),
      }
    }),
    combine: (found) => found.flatMap((one): Evaluation[] => (one.data ? [one.data] : [])),
  })
  const one = first === '' ? undefined : [...known, ...asked].find((row) => row.id.startsWith(first))
  const board = useGet(
    '/api/tunix/evaluations',
    { query: { eval_set: one?.eval_set_digest, judge: one?.judge, rows: 1000, limit: 50 } },
    { enabled: one !== undefined },
  )
  return useMemo(() => {
    const mates = board.data?.data.flatMap((each) => each.rows) ?? []
    const all = [...new Map([...known, ...asked, ...mates].map((row): [string, Evaluation] => [row.id, row])).values()]
    return { rows: all, of: (id) => (id === '' ? undefined : all.find((row) => row.id.startsWith(id))) }
  }, [known, asked, board.data])
}

/** One evaluation of many, by board; with `beside` only those of its board. */
export function Pick({
  label,
  value,
  rows,
  beside,
  without,
  choose,
}: {
  label: string
  value: string
  rows: readonly Evaluation[]
  beside?: Evaluation | undefined
  without?: string | undefined
  choose: (id: string) => void
}) {
  const now = new Date()
  const boards = new Map<string, Evaluation[]>()
  for (const row of rows) {
    if (row.id === without || (beside !== undefined && row.id !== value && boardOf(row) !== boardOf(beside))) continue
    const board = `${row.eval_set} · ${row.judge} · ${decoding(row)}`
    boards.set(board, [...(boards.get(board) ?? []), row])
  }
  return (
    <label className="filter pick">
      <span>{label}</span>
      <select value={value} onChange={(event) => choose(event.target.value)}>
        <option value="">{text.compare.choose}</option>
        {[...boards].map(([board, some]) => (
          <optgroup key={board} label={board}>
            {some.map((row) => (
              <option key={row.id} value={row.id}>
                {`${row.name} · ${percent(row.score)} · ${relative(new Date(row.created_at), now)}`}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  )
}
