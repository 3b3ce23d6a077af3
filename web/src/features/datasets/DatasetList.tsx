import { Link } from 'wouter'

import { address, type Schemas } from '../../api/client'
import { useList } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { Filters, type Filter } from '../../parts/Filters'
import { number } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Page } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { datasets as text } from '../../text'
import { SplitBar } from './Bars'
import './datasets.css'

type Manifest = Schemas['Manifest']

const FILTERS: Filter[] = [{ kind: 'search', name: 'name', label: text.filters.name }]

export function pathOf(key: string): string {
  return `/datasets/${encodeURIComponent(key)}`
}

export function chosen(manifest: Manifest): string {
  return manifest.selection_strategy === 'random' ? text.chosen.random(manifest.seed) : text.chosen.latest
}

const COLUMNS: Column<Manifest>[] = [
  { id: 'key', name: text.columns.key, sort: (each) => each.dataset_key, cell: (each) => <Link href={pathOf(each.dataset_key)}>{each.dataset_key}</Link> },
  { id: 'traces', name: text.columns.traces, right: true, sort: (each) => each.trace_count, cell: (each) => number(each.trace_count) },
  { id: 'splits', name: text.columns.splits, cell: (each) => <SplitBar splits={Object.fromEntries(Object.entries(each.splits).map(([name, split]) => [name, split.count]))} small /> },
  { id: 'steps', name: text.columns.steps, right: true, wide: true, sort: (each) => each.stats['steps']?.mean, cell: (each) => number(each.stats['steps']?.mean) },
  { id: 'chosen', name: text.columns.chosen, wide: true, cell: chosen },
  {
    id: 'parent',
    name: text.columns.parent,
    wide: true,
    cell: (each) => (each.parent === null ? <span className="quiet">–</span> : <Link href={pathOf(each.parent)}>{each.parent}</Link>),
  },
  { id: 'created', name: text.columns.created, right: true, sort: (each) => each.created_at, cell: (each) => <Time at={each.created_at} /> },
]

export default function DatasetList() {
  const place = usePlace()
  const query = { name: place.get('name').trim() }
  const found = useList('/api/datasets', { query })
  const build = (
    <Link className="button primary" href="/datasets/new">
      <Icon name="plus" size={16} /> {text.build}
    </Link>
  )
  return (
    <Page
      title={text.title}
      fills
      actions={
        <>
          <CopyAs
            command={shell('tunix-rt', 'datasets', 'list', ...(query.name ? ['--name', query.name] : []))}
            request={{ address: address('/api/datasets', { query }) }}
          />
          {build}
        </>
      }
      bar={<Filters filters={FILTERS} label={text.filters.label} />}
      loading={found.isLoading}
      problem={found.problem}
      again={found.again}
      empty={found.rows.length === 0 && !found.isLoading ? (query.name ? { ...text.noneMatch } : { ...text.none, action: build }) : null}
    >
      <Table
        label={text.list}
        columns={COLUMNS}
        rows={found.rows}
        keyOf={(each) => each.dataset_key}
        hasMore={found.hasMore}
        more={found.more}
        isFetchingMore={found.isFetchingMore}
        sortParam="sort"
      />
    </Page>
  )
}
