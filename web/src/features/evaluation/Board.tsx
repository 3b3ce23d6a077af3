import { useInfiniteQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { Link } from 'wouter'

import { get, type Problem, type Query, type Schemas } from '../../api/client'
import { Badge } from '../../parts/Badge'
import { Id } from '../../parts/copy'
import { percent } from '../../parts/format'
import { Interval } from '../../parts/Interval'
import { Section } from '../../parts/Page'
import { ProblemBox } from '../../parts/Problem'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { evaluation as text } from '../../text'
import { decoding, probability, range, scale, type Evaluation } from './words'

export type BoardRow = Schemas['BoardRow']
type BoardView = Schemas['BoardView']

const ROWS = 200
const words = text.leaderboard

/** How many rows share each rank. */
export function sharing(rows: readonly BoardRow[]): Map<number, number> {
  const found = new Map<number, number>()
  for (const row of rows) if (row.rank !== null) found.set(row.rank, (found.get(row.rank) ?? 0) + 1)
  return found
}

/** What of the items has no score of its own, in words. */
export function Gaps({ of }: { of: Evaluation }) {
  const parts = [of.n_unscored > 0 && words.unscored(of.n_unscored), of.n_missing > 0 && words.missing(of.n_missing)].filter(Boolean)
  return parts.length > 0 ? <span className="small">{parts.join(', ')}</span> : <span className="quiet">{text.none}</span>
}

export function Marks({ of }: { of: Evaluation }) {
  return (
    <>
      {!of.established && (
        <Badge tone="off" title={words.notEstablishedHint(of.n_scored)}>
          {words.notEstablished}
        </Badge>
      )}
      {of.waiver !== null && (
        <Badge tone="warn" title={of.waiver}>
          {words.waived}
        </Badge>
      )}
    </>
  )
}

/** A column that no row has anything for is left out. */
function columnsOf(rows: readonly BoardRow[], chosen: readonly string[], choose: (id: string) => void): Column<BoardRow>[] {
  const shared = sharing(rows)
  const [from, to] = scale(rows.map((row) => row.ci))
  const first = rows[0]?.score ?? null
  const some = (has: (row: BoardRow) => boolean) => rows.some(has)
  const columns: (Column<BoardRow> | false)[] = [
    {
      id: 'choose',
      name: words.choose,
      wide: true,
      width: '32px',
      cell: (row) => (
        <input
          type="checkbox"
          aria-label={words.chooseOne(row.name)}
          checked={chosen.includes(row.id)}
          disabled={chosen.length === 2 && !chosen.includes(row.id)}
          onChange={() => choose(row.id)}
        />
      ),
    },
    {
      id: 'rank',
      name: words.rank,
      right: true,
      width: '56px',
      cell: (row) => {
        const others = (shared.get(row.rank ?? 0) ?? 1) - 1
        return others > 0 ? (
          <span className="num" title={words.tied(others)}>
            <span aria-hidden="true">=&thinsp;</span>
            {row.rank}
            <span className="unseen"> {words.tiedShort}</span>
          </span>
        ) : (
          row.rank
        )
      },
    },
    {
      id: 'name',
      name: words.name,
      cell: (row) => (
        <span className="row nowrap named">
          <Link href={`/evaluations/${row.id}`} title={row.name}>
            {row.name}
          </Link>
          <Marks of={row} />
        </span>
      ),
    },
    {
      id: 'score',
      name: words.score,
      right: true,
      cell: (row) => <strong className={row.established ? 'num' : 'num quiet'}>{percent(row.score)}</strong>,
    },
    {
      id: 'interval',
      name: words.scale(percent(from, 0), percent(to, 0)),
      cell: (row) => (
        <Interval
          value={row.score}
          low={row.ci?.[0] ?? null}
          high={row.ci?.[1] ?? null}
          from={from}
          to={to}
          {...(first === null ? {} : { mark: first })}
          pale={!row.established}
        />
      ),
    },
    { id: 'range', name: words.inWords, wide: true, cell: (row) => <span className="num small quiet">{range(row.ci)}</span> },
    { id: 'n', name: words.n, right: true, cell: (row) => row.n_scored.toLocaleString('en') },
    some((row) => row.n_unscored > 0 || row.n_missing > 0) && { id: 'gaps', name: words.gaps, wide: true, cell: (row) => <Gaps of={row} /> },
    some((row) => row.contamination !== null) && {
      id: 'clean',
      name: words.clean,
      right: true,
      wide: true,
      cell: (row) =>
        row.contamination ? (
          <span title={words.cleanHint(row.contamination.n, percent(row.contamination.share))}>{percent(row.contamination.clean.score)}</span>
        ) : (
          <span className="quiet" title={words.unknownOverlap}>
            {text.none}
          </span>
        ),
    },
    {
      id: 'p',
      name: words.p,
      right: true,
      wide: true,
      cell: (row) => (
        <span className="quiet" title={words.pHint}>
          {probability(row.p_value)}
        </span>
      ),
    },
    some((row) => row.model_id !== null) && { id: 'model', name: words.model, wide: true, cell: (row) => row.model_id ?? <span className="quiet">{text.none}</span> },
    {
      id: 'made',
      name: words.made,
      right: true,
      wide: true,
      cell: (row) => (
        <span title={row.older > 0 ? words.older(row.older) : undefined}>
          <Time at={row.created_at} />
        </span>
      ),
    },
  ]
  return columns.filter((column) => column !== false)
}

/** The rows that a board's first page does not hold, fetched as they come into view. */
function useRest(board: BoardView, query: Query) {
  const rest = useInfiniteQuery<{ rows: BoardRow[]; next: string | null }, Problem>({
    queryKey: ['/api/tunix/evaluations', 'rows', JSON.stringify(query), board.next_row],
    queryFn: async ({ pageParam, signal }) => {
      const answer = await get('/api/tunix/evaluations', { query: { ...query, rows: ROWS, row_after: pageParam as string }, signal })
      const found = answer.data[0]
      return { rows: found?.rows ?? [], next: found?.next_row ?? null }
    },
    initialPageParam: board.next_row,
    getNextPageParam: (last) => last.next,
    enabled: false,
  })
  return {
    rows: useMemo(() => [...board.rows, ...(rest.data?.pages.flatMap((page) => page.rows) ?? [])], [board.rows, rest.data]),
    hasMore: rest.data ? rest.hasNextPage : board.next_row !== null,
    isFetching: rest.isFetching,
    problem: rest.error,
    more: () => {
      if (!rest.isFetching && !rest.error) void rest.fetchNextPage()
    },
  }
}

function HeldBack({ rows, waive }: { rows: readonly BoardRow[]; waive: (row: Evaluation) => void }) {
  return (
    <details className="panel" open={rows.length <= 5}>
      <summary>
        <Badge tone="warn">{words.heldBack(rows.length)}</Badge>
      </summary>
      <p className="quiet small">{words.heldBackDetail}</p>
      <ul className="held-back">
        {rows.map((row) => (
          <li key={row.id}>
            <Link href={`/evaluations/${row.id}`}>{row.name}</Link>
            {row.n_repeated > 0 && <span className="small">{words.repeated(row.n_repeated)}</span>}
            {row.contamination && row.contamination.n > 0 && (
              <>
                <span className="small">{words.overlap(row.contamination.n, percent(row.contamination.share))}</span>
                <span className="small num">{words.heldScores(percent(row.score), percent(row.contamination.clean.score))}</span>
              </>
            )}
            <button type="button" onClick={() => waive(row)}>
              {words.waive}…
            </button>
          </li>
        ))}
      </ul>
    </details>
  )
}

/** One board: its rows with their intervals on one axis, those that are held back below. */
export function Board({ board, query, alone, waive }: { board: BoardView; query: Query; alone: boolean; waive: (row: Evaluation) => void }) {
  const rest = useRest(board, query)
  const [chosen, setChosen] = useState<readonly string[]>([])
  const ranked = useMemo(() => rest.rows.filter((row) => !row.held_back), [rest.rows])
  const held = useMemo(() => rest.rows.filter((row) => row.held_back), [rest.rows])
  const columns = useMemo(
    () =>
      columnsOf(ranked, chosen, (id) =>
        setChosen((before) => (before.includes(id) ? before.filter((one) => one !== id) : [...before, id])),
      ),
    [ranked, chosen],
  )
  const [base, other] = chosen
  return (
    <Section
      title={`${board.eval_set} · ${decoding(board)}`}
      beside={
        <div className="row small">
          <span className="quiet">{words.facts(board.n_items, board.n_rows, board.n_older)}</span>
          {base && other ? (
            <Link className="button" href={`/evaluations/compare?base=${base}&other=${other}`}>
              {words.compare(2)}
            </Link>
          ) : (
            <span className="quiet wide" role="status">
              {chosen.length === 1 ? words.compare(1) : ''}
            </span>
          )}
        </div>
      }
    >
      <p className="row small board-terms">
        <Id id={board.eval_set_digest} label={words.digest} />
        <span>{text.page.version(board.judge, board.judge_version)}</span>
      </p>
      {ranked.length > 0 && (
        <div className="board">
          <Table
            label={words.board(board.eval_set, board.judge, decoding(board))}
            columns={columns}
            rows={ranked}
            keyOf={(row) => row.id}
            hasMore={rest.hasMore}
            isFetchingMore={rest.isFetching}
            more={rest.more}
            height={alone ? 720 : 460}
          />
        </div>
      )}
      {rest.problem && <ProblemBox problem={rest.problem} />}
      {held.length > 0 && <HeldBack rows={held} waive={waive} />}
    </Section>
  )
}
