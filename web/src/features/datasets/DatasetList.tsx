import { Link } from 'wouter'

import type { Schemas } from '../../api/client'
import type { Filter } from '../../parts/Filters'
import { number } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { ListPage } from '../../parts/ListPage'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import type { Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { datasets as text } from '../../text'
import { SplitBar } from './Bars'
import './datasets.css'

type Manifest = Schemas['Manifest']

const FILTERS: Filter[] = [{ kind: 'search', name: 'q', label: text.filters.name }]

export function pathOf(key: string): string {
  return `/datasets/${encodeURIComponent(key)}`
}

export function chosen(manifest: Manifest): string {
  return manifest.selection_strategy === 'random' ? text.chosen.random(manifest.seed) : text.chosen.latest
}

const COLUMNS: Column<Manifest>[] = [
  { id: 'key', name: text.columns.key, sort: 'dataset_key', cell: (each) => <Link href={pathOf(each.dataset_key)}>{each.dataset_key}</Link> },
  { id: 'traces', name: text.columns.traces, right: true, sort: 'trace_count', cell: (each) => number(each.trace_count) },
  { id: 'splits', name: text.columns.splits, cell: (each) => <SplitBar splits={Object.fromEntries(Object.entries(each.splits).map(([name, split]) => [name, split.count]))} small /> },
  { id: 'steps', name: text.columns.steps, right: true, wide: true, cell: (each) => number(each.stats['steps']?.mean) },
  { id: 'chosen', name: text.columns.chosen, wide: true, cell: chosen },
  {
    id: 'parent',
    name: text.columns.parent,
    wide: true,
    cell: (each) => (each.parent === null ? <span className="quiet">–</span> : <Link href={pathOf(each.parent)}>{each.parent}</Link>),
  },
  { id: 'created', name: text.columns.created, right: true, sort: 'created_at', cell: (each) => <Time at={each.created_at} /> },
]

export default function DatasetList() {
  const place = usePlace()
  const q = place.get('q').trim()
  return (
    <ListPage
      path="/api/datasets"
      text={text}
      filters={FILTERS}
      query={{ q }}
      columns={COLUMNS}
      keyOf={(each) => each.dataset_key}
      command={shell('tunix-rt', 'datasets', 'list')}
      start={
        <Link className="button primary" href="/datasets/new">
          <Icon name="plus" size={16} /> {text.build}
        </Link>
      }
    />
  )
}
