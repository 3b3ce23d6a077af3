import { useCallback, useMemo, useState } from 'react'
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
import { filtersOf, optionsOf, queryOf } from './filters'
import { SetSource } from './SetSource'
import { useSourceOptions } from './sources'
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
  { id: 'source', name: text.columns.source, wide: true, cell: (trace) => <span className={trace.source === null ? 'trace-source quiet' : 'trace-source'} title={trace.source ?? undefined}>{trace.source ?? text.noSource}</span> },
  { id: 'steps', name: text.columns.steps, right: true, sort: 'step_count', cell: (trace) => number(trace.step_count) },
  { id: 'added', name: text.columns.added, right: true, wide: true, sort: 'created_at', cell: (trace) => <Time at={trace.created_at} /> },
  { id: 'trace', name: text.columns.trace, wide: true, cell: (trace) => <code className="quiet" title={trace.id}>{shortId(trace.id)}</code> },
]

/** A column that chooses traces: two to compare, or any number to set their source. */
function picker(place: Place, picked: readonly string[]): Column<Row> {
  return {
    id: 'pick',
    name: text.columns.pick,
    width: '1%',
    cell: (trace) => (
      <input
        type="checkbox"
        aria-label={text.pick(shortId(trace.id))}
        checked={picked.includes(trace.id)}
        onChange={(event) =>
          place.set({ pick: event.target.checked ? [...picked, trace.id] : picked.filter((each) => each !== trace.id) })
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
  const [setting, setSetting] = useState<'chosen' | 'filter' | null>(null)
  const source = place.get('source')
  const sources = useSourceOptions(query, source)
  const columns = useMemo(() => [...COLUMNS, picker(place, pick ? pick.split(',') : [])], [pick, place])
  return (
    <ListPage
      path="/api/traces"
      text={text}
      filters={filtersOf(sources)}
      query={query}
      columns={columns}
      keyOf={(trace) => trace.id}
      command={shell('tunix-rt', 'traces', 'list', ...optionsOf(place))}
      actions={
        <>
          <button type="button" className="ghost" onClick={() => setSetting('filter')}>
            {text.setSource.ofAllOpen}
          </button>
          <a className="button ghost" download="traces.jsonl" href={address('/api/traces/export.jsonl', { query })}>
            <Icon name="download" size={16} /> {text.download}
          </a>
        </>
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
          {text.picked(picked.length)}
          <button type="button" onClick={() => setSetting('chosen')}>
            {text.setSource.open}
          </button>
          {picked.length === 2 && (
            <Link className="button" href={`/traces/compare?base=${picked[0] ?? ''}&other=${picked[1] ?? ''}`}>
              <Icon name="compare" size={16} /> {text.comparePicked}
            </Link>
          )}
          <button type="button" className="ghost" onClick={() => place.set({ pick: null })}>
            {text.unpick}
          </button>
        </p>
      )}
      {setting !== null && (
        <SetSource
          {...(setting === 'chosen' ? { ids: picked } : {})}
          place={place}
          close={(set) => {
            setSetting(null)
            // The traces are where they were before: under the source that they have now.
            if (set !== undefined) place.set({ pick: null, ...(setting === 'filter' && source !== '' ? { source: set } : {}) })
          }}
        />
      )}
    </ListPage>
  )
}
