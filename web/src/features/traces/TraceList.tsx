import { useCallback, useMemo } from 'react'
import { Link, useLocation } from 'wouter'

import { address, type Schemas } from '../../api/client'
import { number, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { ListPage } from '../../parts/ListPage'
import { usePlace, type Place } from '../../parts/place'
import { shell } from '../../parts/request'
import type { Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { traces as text } from '../../text'
import { useDropAnywhere } from './dropped'
import { FILTERS, optionsOf, queryOf } from './filters'
import './traces.css'

type Row = Schemas['TraceRow']

export const COLUMNS: Column<Row>[] = [
  {
    id: 'prompt',
    name: text.columns.prompt,
    cell: (trace) => (
      <Link href={`/traces/${trace.id}`} className="trace-link" title={trace.prompt_preview}>
        {trace.prompt_preview.replaceAll(/\s+/g, ' ')}
      </Link>
    ),
  },
  { id: 'answer', name: text.columns.answer, cell: (trace) => <span className="trace-answer" title={trace.answer_preview}>{trace.answer_preview}</span> },
  { id: 'source', name: text.columns.source, wide: true, cell: (trace) => trace.source ?? <span className="quiet">–</span> },
  { id: 'steps', name: text.columns.steps, right: true, sort: 'step_count', cell: (trace) => number(trace.step_count) },
  { id: 'added', name: text.columns.added, right: true, wide: true, sort: 'created_at', cell: (trace) => <Time at={trace.created_at} /> },
  { id: 'trace', name: text.columns.trace, wide: true, cell: (trace) => <code className="quiet" title={trace.id}>{shortId(trace.id)}</code> },
]

/** A column that chooses two traces, the later choice in place of the earlier one. */
function picker(place: Place, picked: readonly string[]): Column<Row> {
  return {
    id: 'pick',
    name: text.columns.pick,
    wide: true,
    width: '1%',
    cell: (trace) => (
      <input
        type="checkbox"
        aria-label={text.pick(shortId(trace.id))}
        checked={picked.includes(trace.id)}
        onChange={(event) =>
          place.set({ pick: event.target.checked ? [...picked.slice(-1), trace.id] : picked.filter((each) => each !== trace.id) })
        }
      />
    ),
  }
}

export default function TraceList() {
  const place = usePlace()
  const [, go] = useLocation()
  const over = useDropAnywhere(useCallback(() => go('/traces/new'), [go]))
  const query = queryOf(place)
  const picked = place.all('pick')
  const pick = picked.join()
  const columns = useMemo(() => [...COLUMNS, picker(place, pick ? pick.split(',') : [])], [pick, place])
  return (
    <ListPage
      path="/api/traces"
      text={text}
      filters={FILTERS}
      query={query}
      columns={columns}
      keyOf={(trace) => trace.id}
      command={shell('tunix-rt', 'traces', 'list', ...optionsOf(place))}
      actions={
        <a className="button ghost" download="traces.jsonl" href={address('/api/traces/export.jsonl', { query })}>
          <Icon name="download" size={16} /> {text.download}
        </a>
      }
      start={
        <Link className="button primary" href="/traces/new">
          <Icon name="plus" size={16} /> {text.add}
        </Link>
      }
    >
      {over && <p className="drop-note">{text.dropHere}</p>}
      {picked.length > 0 && (
        <p className="row picked" role="status">
          <Icon name="compare" size={16} /> {text.picked(picked.length)}
          {picked.length === 2 && (
            <Link className="button" href={`/traces/compare?base=${picked[0] ?? ''}&other=${picked[1] ?? ''}`}>
              {text.comparePicked}
            </Link>
          )}
          <button type="button" className="ghost" onClick={() => place.set({ pick: null })}>
            {text.unpick}
          </button>
        </p>
      )}
    </ListPage>
  )
}
