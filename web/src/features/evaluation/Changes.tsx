import { useMemo } from 'react'

import type { Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { Dialog } from '../../parts/Dialog'
import { Filters, type Filter } from '../../parts/Filters'
import { percent } from '../../parts/format'
import { Face, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { Table, type Column } from '../../parts/Table'
import { evaluation as text } from '../../text'
import { words as aligned, type Span } from '../../parts/diff'
import { Answer } from './Items'
import { rule } from './words'

export type Changed = Schemas['Changed']
interface Side {
  id: string
  name: string
}

const words = text.compare
const FILTERS: Filter[] = [
  {
    kind: 'choice',
    name: 'change',
    label: words.only,
    options: [
      { value: 'fixed', label: words.fixed },
      { value: 'broken', label: words.broken },
    ],
  },
]

function ChangeMark({ of }: { of: Changed['change'] }) {
  return <Badge tone={of === 'fixed' ? 'good' : 'bad'}>{of === 'fixed' ? words.fixed : words.broken}</Badge>
}

/** How many were fixed, broken and stayed, as figures and as one bar. */
export function Counts({ fixed, broken, unchanged }: { fixed: number; broken: number; unchanged: number }) {
  const all = fixed + broken + unchanged
  const parts = [
    { name: words.fixed, count: fixed, kind: 'fixed' },
    { name: words.broken, count: broken, kind: 'broken' },
    { name: words.unchanged, count: unchanged, kind: 'same' },
  ]
  return (
    <div className="changed-counts">
      <dl>
        {parts.map((part) => (
          <div key={part.kind}>
            <dt>
              <span className={`changed-swatch kind-${part.kind}`} aria-hidden="true" /> {part.name}
            </dt>
            <dd>{part.count.toLocaleString('en')}</dd>
          </div>
        ))}
      </dl>
      {all > 0 && (
        <div className="changed-bar" aria-hidden="true">
          {parts.map((part) => part.count > 0 && <span key={part.kind} className={`kind-${part.kind}`} style={{ flexGrow: part.count }} />)}
        </div>
      )}
    </div>
  )
}

function Words({ spans, own }: { spans: readonly Span[]; own: 'delete' | 'insert' }) {
  return (
    <pre className="output">
      {spans
        .filter((span) => span.op === 'equal' || span.op === own)
        .map((span, place) =>
          span.op === 'equal' ? <span key={place}>{span.text}</span> : own === 'delete' ? <del key={place}>{span.text}</del> : <ins key={place}>{span.text}</ins>,
        )}
    </pre>
  )
}

/** One item as both answered it, whole, with the words that only one of them has marked. */
function ChangedItem({ of, base, other, close }: { of: Changed; base: Side; other: Side; close: () => void }) {
  const asked = (side: Side) => ({ at: { evaluation_id: side.id }, query: { item: of.id, limit: 200 } })
  const first = useGet('/api/evaluations/{evaluation_id}/items', asked(base))
  const second = useGet('/api/evaluations/{evaluation_id}/items', asked(other))
  const pairs = useMemo(() => {
    const theirs = new Map(second.data?.data.map((item) => [item.sample, item]))
    return (first.data?.data ?? []).map((item) => {
      const beside = theirs.get(item.sample)
      return { sample: item.sample, base: item, other: beside, spans: aligned(item.output ?? '', beside?.output ?? '') }
    })
  }, [first.data, second.data])
  const sides = [
    { side: base, own: 'delete', answer: of.base },
    { side: other, own: 'insert', answer: of.other },
  ] as const
  const prompt = pairs[0]?.base.prompt
  return (
    <Dialog title={text.items.title(of.id)} close={close} wide>
      <div className="dialog-body item-body">
        <p className="row">
          <ChangeMark of={of.change} />
          <span className="quiet">{words.expected}</span> <Answer said={of.expected_answer} none={text.items.nothingExpected} />
        </p>
        <Face
          loading={first.isPending || second.isPending}
          problem={first.error ?? second.error}
          again={() => {
            void first.refetch()
            void second.refetch()
          }}
        >
          <div className="stack">
            {prompt !== undefined && (
              <div className="stack tight">
                <h3>{text.items.prompt}</h3>
                <pre className="output">{prompt}</pre>
              </div>
            )}
            {pairs.map((pair) => (
              <div key={pair.sample} className="sides">
                {sides.map(({ side, own }) => {
                  const item = own === 'delete' ? pair.base : pair.other
                  return (
                    <section key={own} className="stack tight" aria-label={side.name}>
                      <h3>
                        {side.name}
                        {pairs.length > 1 && <span className="quiet"> · {text.items.sampleOf(pair.sample)}</span>}
                      </h3>
                      <p className="row small">
                        <span className="quiet">{text.items.found}</span>
                        <Answer said={item?.extracted ?? null} none={text.items.nothingFound} />
                        {item?.rule && <span className="quiet">{rule(item.rule)}</span>}
                        <span className="num">{percent(item?.score, 0)}</span>
                      </p>
                      {item?.output ? <Words spans={pair.spans} own={own} /> : <p className="quiet">{text.items.noOutput}</p>}
                    </section>
                  )
                })}
              </div>
            ))}
            <p className="quiet small">{words.legend}</p>
          </div>
        </Face>
      </div>
    </Dialog>
  )
}

/** The items whose score rose or fell, side by side; one is opened by the address. */
export function Changes({ items, leftOut, base, other }: { items: readonly Changed[]; leftOut: number; base: Side; other: Side }) {
  const place = usePlace()
  const chosen = place.get('change')
  const opened = place.get('item')
  const shown = useMemo(() => (chosen === '' ? items : items.filter((item) => item.change === chosen)), [items, chosen])
  const one = items.find((item) => item.id === opened)
  const columns = useMemo<Column<Changed>[]>(
    () => [
      {
        id: 'item',
        name: text.items.item,
        cell: (row) => (
          <a
            href={`?item=${encodeURIComponent(row.id)}`}
            className="mono"
            onClick={(event) => {
              event.preventDefault()
              place.set({ item: row.id }, { push: true })
            }}
          >
            {row.id}
          </a>
        ),
      },
      { id: 'change', name: words.change, cell: (row) => <ChangeMark of={row.change} /> },
      { id: 'expected', name: words.expected, cell: (row) => <Answer said={row.expected_answer} none={text.items.nothingExpected} /> },
      { id: 'base', name: base.name, cell: (row) => <Answer said={row.base.extracted} none={text.items.nothingFound} /> },
      { id: 'other', name: other.name, cell: (row) => <Answer said={row.other.extracted} none={text.items.nothingFound} /> },
      {
        id: 'scores',
        name: text.items.score,
        right: true,
        wide: true,
        cell: (row) => (
          <span className="num">
            {percent(row.base.score, 0)} → {percent(row.other.score, 0)}
          </span>
        ),
      },
      {
        id: 'rule',
        name: text.items.rule,
        wide: true,
        cell: (row) => (
          <span className="small quiet">
            {row.base.rule ?? text.none}
            {row.base.rule !== row.other.rule && ` → ${row.other.rule ?? text.none}`}
          </span>
        ),
      },
    ],
    [base.name, other.name, place],
  )
  return (
    <Section title={words.changes}>
      {items.length === 0 ? (
        <p className="quiet">{words.changesNone}</p>
      ) : (
        <>
          <Filters filters={FILTERS} label={words.changes} />
          <Table label={words.changesTable} columns={columns} rows={shown} keyOf={(row) => row.id} height={520} />
        </>
      )}
      {leftOut > 0 && <p className="quiet small">{words.changesLeft(leftOut)}</p>}
      {one && <ChangedItem of={one} base={base} other={other} close={() => place.set({ item: null })} />}
    </Section>
  )
}
