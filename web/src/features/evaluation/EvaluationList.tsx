import { Link } from 'wouter'

import { Badge } from '../../parts/Badge'
import type { Filter } from '../../parts/Filters'
import { percent, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Interval } from '../../parts/Interval'
import { ListPage } from '../../parts/ListPage'
import { usePlace } from '../../parts/place'
import type { Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { evaluation as text } from '../../text'
import { Marks } from './Board'
import './evaluation.css'
import { Queue } from './Queue'
import { Upload } from './Upload'
import { decoding, range, type Evaluation } from './words'

const FILTERS: Filter[] = [{ kind: 'search', name: 'q', label: text.list.search }]
const TEXT = { ...text.list, list: text.list.label, filters: { label: text.list.filters } }

const COLUMNS: Column<Evaluation>[] = [
  {
    id: 'name',
    name: text.leaderboard.name,
    sort: 'name',
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
  { id: 'eval_set', name: text.list.evalSet, sort: 'eval_set', cell: (row) => row.eval_set },
  {
    id: 'score',
    name: text.leaderboard.score,
    right: true,
    sort: 'score',
    cell: (row) => <strong className={row.established ? 'num' : 'num quiet'}>{percent(row.score)}</strong>,
  },
  {
    id: 'interval',
    name: text.leaderboard.scale('0 %', '100 %'),
    wide: true,
    cell: (row) => <Interval value={row.score} low={row.ci?.[0] ?? null} high={row.ci?.[1] ?? null} pale={!row.established} />,
  },
  { id: 'range', name: text.leaderboard.inWords, wide: true, cell: (row) => <span className="num small quiet">{range(row.ci)}</span> },
  { id: 'n', name: text.leaderboard.n, right: true, sort: 'n_scored', cell: (row) => row.n_scored.toLocaleString('en') },
  { id: 'made', name: text.made, right: true, wide: true, sort: 'created_at', cell: (row) => <Time at={row.created_at} /> },
  { id: 'judge', name: text.list.judge, wide: true, sort: 'judge', cell: (row) => row.judge },
  { id: 'decoding', name: text.list.decoding, wide: true, cell: (row) => <span className="small">{decoding(row)}</span> },
  { id: 'model', name: text.leaderboard.model, wide: true, sort: 'model_id', cell: (row) => row.model_id ?? <span className="quiet">–</span> },
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

export default function EvaluationList() {
  const place = usePlace()
  return (
    <ListPage
      path="/api/evaluations"
      text={TEXT}
      filters={FILTERS}
      query={{ q: place.get('q').trim() }}
      columns={COLUMNS}
      keyOf={(row) => row.id}
      command="tunix-rt evaluations list"
      actions={
        <Link className="button" href="/evaluations/compare">
          <Icon name="compare" size={16} /> {text.page.compare}
        </Link>
      }
      start={
        <button type="button" className="primary" onClick={() => place.set({ upload: 'yes' }, { push: true })}>
          <Icon name="plus" size={16} /> {text.upload.open}
        </button>
      }
    >
      <Queue />
      {place.get('upload') && <Upload close={() => place.set({ upload: null })} />}
    </ListPage>
  )
}
