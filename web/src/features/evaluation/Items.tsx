import { useMemo } from 'react'

import { type Query, type Schemas } from '../../api/client'
import { useList } from '../../api/list'
import { Badge } from '../../parts/Badge'
import { Filters, type Filter } from '../../parts/Filters'
import { number, percent } from '../../parts/format'
import { Face } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { Table, type Column } from '../../parts/Table'
import { evaluation as text } from '../../text'
import { ItemDialog } from './ItemDialog'
import { OUTCOMES, rule, type Outcome } from './words'

type Item = Schemas['ItemView']
type Detail = Schemas['EvaluationDetail']

const words = text.items
const SORTS = ['score', 'latency_s', 'completion_tokens']
const NAMES = ['outcome', 'section', 'category', 'difficulty', 'contaminated'] as const

export function OutcomeMark({ of }: { of: Item }) {
  const partly = of.outcome === 'wrong' && of.score !== null && of.score > 0
  return <Badge tone={partly ? 'warn' : OUTCOMES[of.outcome]}>{partly ? text.partly : text.outcome[of.outcome]}</Badge>
}

function filtersOf(of: Detail): Filter[] {
  const labels = (['section', 'category', 'difficulty'] as const).flatMap((label): Filter[] => {
    const options = (of.scorecard[label] ?? []).flatMap((group) => (group.value === null ? [] : [group.value]))
    return options.length > 0 ? [{ kind: 'choice', name: label, label: text.page.by[label], options }] : []
  })
  const outcomes = (Object.keys(OUTCOMES) as Outcome[]).map((outcome) => ({ value: outcome, label: text.outcome[outcome] }))
  return [
    { kind: 'choice', name: 'outcome', label: words.outcome, options: outcomes },
    ...labels,
    ...(of.contamination
      ? [
          {
            kind: 'choice' as const,
            name: 'contaminated',
            label: words.overlap,
            options: [
              { value: 'true', label: words.overlapYes },
              { value: 'false', label: words.overlapNo },
            ],
          },
        ]
      : []),
  ]
}

function columnsOf(samples: number, open: (item: Item) => void): Column<Item>[] {
  return [
    {
      id: 'item',
      name: words.item,
      cell: (row) => (
        <a
          href={`?tab=items&item=${encodeURIComponent(row.id)}`}
          className="mono"
          onClick={(event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey) return
            event.preventDefault()
            open(row)
          }}
        >
          {row.id}
        </a>
      ),
    },
    ...(samples > 1 ? [{ id: 'sample', name: words.sample, right: true, cell: (row: Item) => row.sample + 1 }] : []),
    {
      id: 'outcome',
      name: words.outcome,
      cell: (row) => (
        <span className="row nowrap">
          <OutcomeMark of={row} />
          {row.contamination !== null && (
            <Badge tone="warn" title={words.contamination}>
              <span className="unseen">{words.overlapYes}</span>
            </Badge>
          )}
        </span>
      ),
    },
    { id: 'prompt', name: words.prompt, wide: true, cell: (row) => <span title={row.prompt}>{row.prompt.slice(0, 120)}</span> },
    { id: 'expected', name: words.expected, wide: true, cell: (row) => <Answer said={row.expected_answer} none={words.nothingExpected} /> },
    { id: 'found', name: words.found, cell: (row) => <Answer said={row.extracted} none={words.nothingFound} /> },
    { id: 'rule', name: words.rule, wide: true, cell: (row) => row.rule && <code title={rule(row.rule)}>{row.rule}</code> },
    { id: 'score', name: words.score, right: true, wide: true, sort: (row) => row.score, cell: (row) => percent(row.score, 0) },
    { id: 'completion_tokens', name: words.tokens, right: true, wide: true, sort: (row) => row.completion_tokens, cell: (row) => number(row.completion_tokens) },
    { id: 'latency_s', name: words.seconds, right: true, wide: true, sort: (row) => row.latency_s, cell: (row) => number(row.latency_s) },
  ]
}

export function Answer({ said, none }: { said: string | null; none: string }) {
  return said === null || said === '' ? <em className="quiet">{none}</em> : <code title={said}>{said.slice(0, 80)}</code>
}

/** The judged items, sample by sample; one is opened by the address. */
export function Items({ of }: { of: Detail }) {
  const place = usePlace()
  const order = place.get('sort')
  const query: Query = {
    ...Object.fromEntries(NAMES.map((name) => [name, place.get(name)])),
    sort: SORTS.includes(order.replace(/^-/, '')) ? order : '',
  }
  const found = useList('/api/evaluations/{evaluation_id}/items', { at: { evaluation_id: of.id }, query, limit: 200 })
  const filters = useMemo(() => filtersOf(of), [of])
  const columns = useMemo(() => columnsOf(of.samples, (item) => place.set({ item: item.id }, { push: true })), [of.samples, place])
  const opened = place.get('item')
  return (
    <>
      <Filters filters={filters} label={words.filters} />
      <Face
        loading={found.isLoading}
        problem={found.problem}
        again={found.again}
        empty={found.rows.length === 0 && !found.isLoading && words.none}
      >
        <Table
          label={words.label}
          columns={columns}
          rows={found.rows}
          keyOf={(row) => `${row.id} ${row.sample}`}
          hasMore={found.hasMore}
          more={found.more}
          isFetchingMore={found.isFetchingMore}
          sortParam="sort"
        />
      </Face>
      {opened && (
        <ItemDialog evaluation={of.id} id={opened} rows={found.rows} more={found.hasMore} open={(id) => place.set({ item: id })} close={() => place.set({ item: null })} />
      )}
    </>
  )
}
