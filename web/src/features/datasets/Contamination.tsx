import { Link } from 'wouter'

import { address, type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { useList } from '../../api/list'
import { Badge } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { number, percent, shortId } from '../../parts/format'
import { Face, Facts, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { shell } from '../../parts/request'
import { Skeleton } from '../../parts/Skeleton'
import { Table, type Column } from '../../parts/Table'
import { datasets as text } from '../../text'

type Manifest = Schemas['Manifest']
type View = Schemas['ContaminationView']
type Item = Schemas['ContaminatedItem']
const said = text.contamination

const COLUMNS: Column<Item>[] = [
  { id: 'item', name: said.item, cell: (item) => <code title={item.id}>{item.id.length > 24 ? shortId(item.id) : item.id}</code> },
  { id: 'kind', name: said.kind, sort: (item) => item.kind, cell: (item) => said.kinds[item.kind] ?? item.kind },
  { id: 'share', name: said.shareOf, right: true, sort: (item) => item.share, cell: (item) => percent(item.share) },
  {
    id: 'trace',
    name: said.trace,
    cell: (item) => (
      <Link className="mono" href={`/traces/${item.trace}`} title={item.trace}>
        {shortId(item.trace)}
      </Link>
    ),
  },
]

function Result({ view }: { view: View }) {
  const clean = view.n_contaminated === 0
  return (
    <div className="stack">
      <div className="panel stack">
        <p className="row" role="status">
          <Badge tone={clean ? 'good' : 'bad'}>{clean ? said.badge.clean : said.badge.contaminated}</Badge>
          {clean ? said.clean(view.n_items, view.n_traces) : said.found(view.n_contaminated, view.n_items, view.n_traces)}
        </p>
        <Facts
          facts={[
            [said.share, percent(view.share)],
            ...Object.entries(view.kinds)
              .filter(([, count]) => count > 0)
              .map(([kind, count]) => [said.kinds[kind] ?? kind, number(count)] as const),
            [said.method, view.method],
            [said.thresholds, Object.entries(view.thresholds).map(([name, value]) => `${name} ${number(value)}`).join(', ')],
          ]}
        />
      </div>
      {view.items.length > 0 && (
        <Section title={said.list}>
          <Table label={said.table} columns={COLUMNS} rows={view.items} keyOf={(item) => item.id} sortParam="items" />
        </Section>
      )}
    </div>
  )
}

/** Which questions of an eval set stand in the training split. */
export function Contamination({ manifest }: { manifest: Manifest }) {
  const place = usePlace()
  const sets = useList('/api/eval-sets')
  const name = place.get('eval_set')
  const key = manifest.dataset_key
  const call = { at: { key }, query: { eval_set: name } }
  const found = useGet('/api/datasets/{key}/contamination', call, { enabled: name !== '', staleTime: Infinity })
  return (
    <Face loading={sets.isLoading} problem={sets.problem} again={sets.again} empty={sets.rows.length === 0 && name === '' && said.none}>
      <div className="filters">
        <label className="filter">
          <span>{said.evalSet}</span>
          <select value={name} onChange={(event) => place.set({ eval_set: event.target.value })}>
            <option value="">{said.choose}</option>
            {name !== '' && sets.rows.every((each) => each.name !== name) && <option>{name}</option>}
            {[...new Set(sets.rows.map((each) => each.name))].map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        {name !== '' && (
          <CopyAs
            command={shell('tunix-rt', 'datasets', 'contamination', key, '--eval-set', `${name}.jsonl`)}
            request={{ address: address('/api/datasets/{key}/contamination', call) }}
          />
        )}
      </div>
      <Face
        loading={name !== '' && found.isPending}
        problem={found.error}
        again={() => void found.refetch()}
        empty={name === '' && said.pick}
        skeleton={
          <>
            <p className="quiet">{said.looking}</p>
            <Skeleton lines={4} />
          </>
        }
      >
        {found.data && <Result view={found.data} />}
      </Face>
    </Face>
  )
}
