import { useEffect, useMemo } from 'react'
import { Link } from 'wouter'

import { useList } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { Filters, type Filter } from '../../parts/Filters'
import { percent, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Interval } from '../../parts/Interval'
import { Page } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { evaluation as text } from '../../text'
import { Marks } from './Board'
import './evaluation.css'
import { Upload } from './Upload'
import { decoding, range, type Evaluation } from './words'

const FILTERS: Filter[] = [{ kind: 'search', name: 'q', label: text.list.search }]
/** Evaluations that are fetched to be searched or sorted. */
const MOST = 1000

const COLUMNS: Column<Evaluation>[] = [
  {
    id: 'name',
    name: text.leaderboard.name,
    sort: (row) => row.name,
    cell: (row) => (
      <span className="row nowrap named">
        <Link href={`/evaluations/${row.id}`} title={row.name}>
          {row.name}
        </Link>
        <Marks of={row} />
        {row.held_back && <Badge tone="warn">{text.page.heldBack}</Badge>}
      </span>
    ),
  },
  { id: 'eval_set', name: text.list.evalSet, sort: (row) => row.eval_set, cell: (row) => row.eval_set },
  {
    id: 'score',
    name: text.leaderboard.score,
    right: true,
    sort: (row) => row.score,
    cell: (row) => <strong className={row.established ? 'num' : 'num quiet'}>{percent(row.score)}</strong>,
  },
  {
    id: 'interval',
    name: text.leaderboard.scale('0 %', '100 %'),
    wide: true,
    cell: (row) => <Interval value={row.score} low={row.ci?.[0] ?? null} high={row.ci?.[1] ?? null} pale={!row.established} />,
  },
  { id: 'range', name: text.leaderboard.inWords, wide: true, cell: (row) => <span className="num small quiet">{range(row.ci)}</span> },
  { id: 'n', name: text.leaderboard.n, right: true, sort: (row) => row.n_scored, cell: (row) => row.n_scored.toLocaleString('en') },
  { id: 'made', name: text.made, right: true, wide: true, sort: (row) => row.created_at, cell: (row) => <Time at={row.created_at} /> },
  { id: 'judge', name: text.list.judge, wide: true, sort: (row) => row.judge, cell: (row) => row.judge },
  { id: 'decoding', name: text.list.decoding, wide: true, cell: (row) => <span className="small">{decoding(row.decoding)}</span> },
  { id: 'model', name: text.leaderboard.model, wide: true, sort: (row) => row.model_id, cell: (row) => row.model_id ?? <span className="quiet">–</span> },
  {
    id: 'run',
    name: text.list.run,
    wide: true,
    cell: (row) =>
      row.run_id ? (
        <Link className="mono" href={`/runs/${row.run_id}`}>
          {shortId(row.run_id)}
        </Link>
      ) : (
        <span className="quiet">–</span>
      ),
  },
]

export function matching(rows: readonly Evaluation[], words: string): readonly Evaluation[] {
  const sought = words.trim().toLowerCase()
  if (!sought) return rows
  return rows.filter((row) => [row.name, row.eval_set, row.judge, row.model_id, row.dataset_key, row.id, row.run_id].some((part) => part?.toLowerCase().includes(sought)))
}

export default function EvaluationList() {
  const place = usePlace()
  const sought = place.get('q')
  const whole = sought !== '' || place.get('sort') !== ''
  const found = useList('/api/evaluations', { limit: whole ? 200 : 100 })
  const { rows, hasMore, isFetchingMore, more } = found
  useEffect(() => {
    if (whole && hasMore && !isFetchingMore && rows.length < MOST) more()
  }, [whole, hasMore, isFetchingMore, rows.length, more])
  const shown = useMemo(() => matching(rows, sought), [rows, sought])
  const upload = (
    <button type="button" className="primary" onClick={() => place.set({ upload: 'yes' }, { push: true })}>
      <Icon name="plus" size={16} /> {text.upload.open}
    </button>
  )
  return (
    <Page
      title={text.list.title}
      fills
      actions={
        <>
          <Link className="button" href="/evaluations/compare">
            <Icon name="compare" size={16} /> {text.page.compare}
          </Link>
          <CopyAs command="tunix-rt evaluations list" request={{ address: '/api/evaluations' }} />
          {upload}
        </>
      }
      bar={
        <>
          <Filters filters={FILTERS} label={text.list.filters} />
          {place.get('upload') && <Upload close={() => place.set({ upload: null })} />}
        </>
      }
      loading={found.isLoading}
      problem={found.problem}
      again={found.again}
      empty={
        shown.length === 0 &&
        !found.isLoading &&
        !(hasMore && rows.length < MOST) &&
        (sought ? text.list.noneMatch : { ...text.list.none, action: <code className="select">{text.leaderboard.command}</code> })
      }
    >
      {whole && hasMore && rows.length >= MOST && <p className="quiet small">{text.list.among(rows.length)}</p>}
      <Table
        label={text.list.label}
        columns={COLUMNS}
        rows={shown}
        keyOf={(row) => row.id}
        hasMore={whole ? hasMore && rows.length < MOST : hasMore}
        more={more}
        isFetchingMore={isFetchingMore}
        sortParam="sort"
      />
    </Page>
  )
}
