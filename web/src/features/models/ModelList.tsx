import { Link } from 'wouter'

import { useList } from '../../api/list'
import { pages } from '../../pages'
import { CopyAs } from '../../parts/copy'
import { number } from '../../parts/format'
import { Page } from '../../parts/Page'
import { Table, type Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { models as text } from '../../text'
import './models.css'
import { Range, Score } from './Parts'
import { pathOf, type Family } from './words'

/** Aliases of a row; the model's page has them all. */
const SHOWN = 3

const newest = (family: Family) => family.versions[0]
const figure = (family: Family) => newest(family)?.evaluations[0]

const COLUMNS: Column<Family>[] = [
  { id: 'name', name: text.columns.name, sort: (row) => row.name, cell: (row) => <Link href={pathOf(row.name)}>{row.name}</Link> },
  { id: 'description', name: text.columns.description, wide: true, cell: (row) => row.description || <span className="quiet">–</span> },
  { id: 'versions', name: text.columns.versions, right: true, sort: (row) => row.version_count, cell: (row) => number(row.version_count) },
  { id: 'newest', name: text.columns.newest, wide: true, cell: (row) => newest(row)?.version ?? <span className="quiet">–</span> },
  { id: 'score', name: text.columns.score, sort: (row) => figure(row)?.score, cell: (row) => (newest(row) ? <Score of={figure(row)} /> : <span className="quiet">–</span>) },
  { id: 'interval', name: text.columns.scale, wide: true, cell: (row) => <Range of={figure(row)} /> },
  {
    id: 'aliases',
    name: text.columns.aliases,
    wide: true,
    cell: (row) =>
      row.aliases.length === 0 ? (
        <span className="quiet">–</span>
      ) : (
        <span className="row nowrap">
          {row.aliases.slice(0, SHOWN).map((each) => (
            <span key={each.alias} className="alias">
              {each.alias} <span className="quiet">{each.version}</span>
            </span>
          ))}
          {row.aliases.length > SHOWN && <span className="quiet small">{text.moreAliases(row.aliases.length - SHOWN)}</span>}
        </span>
      ),
  },
  { id: 'made', name: text.columns.made, right: true, wide: true, sort: (row) => row.created_at, cell: (row) => <Time at={row.created_at} /> },
]

export default function ModelList() {
  const found = useList('/api/models')
  return (
    <Page
      title={text.title}
      fills
      actions={<CopyAs command="tunix-rt models list" request={{ address: '/api/models' }} />}
      loading={found.isLoading}
      problem={found.problem}
      again={found.again}
      empty={
        found.rows.length === 0 &&
        !found.isLoading && {
          title: text.none.title,
          detail: (
            <>
              <p>{text.none.detail}</p>
              <code className="select">{text.none.command}</code>
            </>
          ),
          action: pages.some((page) => page.path === '/runs') && (
            <Link className="button primary" href="/runs?status=completed">
              {text.none.runs}
            </Link>
          ),
        }
      }
    >
      <div className="close-columns grows">
        <Table
          label={text.list}
          columns={COLUMNS}
          rows={found.rows}
          keyOf={(row) => row.id}
          hasMore={found.hasMore}
          more={found.more}
          isFetchingMore={found.isFetchingMore}
          sortParam="sort"
        />
      </div>
    </Page>
  )
}
