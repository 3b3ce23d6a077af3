import { useState } from 'react'
import { Link } from 'wouter'

import { address, type Query } from '../../api/client'
import { useGet } from '../../api/hooks'
import { useList } from '../../api/list'
import { CopyAs } from '../../parts/copy'
import { Filters, type Filter } from '../../parts/Filters'
import { Page } from '../../parts/Page'
import { usePlace, type Place } from '../../parts/place'
import { shell } from '../../parts/request'
import { evaluation as text } from '../../text'
import { Board } from './Board'
import './evaluation.css'
import { Waive } from './Waive'
import type { Evaluation } from './words'

/** Boards that are fetched at once. */
const BOARDS = 8

function useFilters(): Filter[] {
  const sets = useGet('/api/eval-sets', { query: { limit: 200 } })
  const names = sets.data?.data.map((each) => each.name) ?? []
  const words = text.leaderboard.filters
  return [
    // More than one answer holds: by its name.
    sets.data?.pagination.next_cursor
      ? { kind: 'text', name: 'eval_set', label: words.evalSet }
      : { kind: 'choice', name: 'eval_set', label: words.evalSet, options: names },
    { kind: 'text', name: 'judge', label: words.judge },
    { kind: 'text', name: 'model_id', label: words.model },
    { kind: 'text', name: 'dataset_key', label: words.dataset },
    { kind: 'date', name: 'date_from', label: words.from },
    { kind: 'date', name: 'date_to', label: words.to },
  ]
}

const NAMES = ['eval_set', 'judge', 'model_id', 'dataset_key', 'date_from', 'date_to'] as const

/** Days of the address as the API takes them: whole days of UTC. */
export function asked(place: Pick<Place, 'get'>): Query {
  const [from, to] = [place.get('date_from'), place.get('date_to')]
  return {
    eval_set: place.get('eval_set'),
    judge: place.get('judge'),
    model_id: place.get('model_id'),
    dataset_key: place.get('dataset_key'),
    date_from: from && `${from}T00:00:00Z`,
    date_to: to && `${to}T23:59:59.999999Z`,
  }
}

export default function Leaderboard() {
  const place = usePlace()
  const filters = useFilters()
  const query = asked(place)
  const found = useList('/api/tunix/evaluations', { query, limit: BOARDS })
  const [waiving, setWaiving] = useState<Evaluation | null>(null)
  const filtered = NAMES.some((name) => place.params.has(name))
  return (
    <Page
      title={text.leaderboard.title}
      actions={
        <>
          <Link className="button" href="/evaluations">
            {text.list.title}
          </Link>
          <CopyAs
            command={shell(
              'tunix-rt', 'leaderboard',
              ...(
                [['eval_set', '--eval-set'], ['judge', '--judge'], ['model_id', '--model'], ['dataset_key', '--dataset'], ['date_from', '--from'], ['date_to', '--to']] as const
              ).flatMap(([name, option]) => (place.get(name) ? [option, name === 'date_to' ? `${place.get(name)}T23:59:59` : place.get(name)] : [])),
            )}
            request={{ address: address('/api/tunix/evaluations', { query }) }}
          />
        </>
      }
      bar={
        <>
          <p className="quiet">
            {text.leaderboard.intro} {text.leaderboard.markHint}
          </p>
          <div className="close-filters">
            <Filters filters={filters} label={text.leaderboard.filters.label} />
          </div>
        </>
      }
      loading={found.isLoading}
      problem={found.problem}
      again={found.again}
      empty={
        found.rows.length === 0 &&
        !found.isLoading &&
        (filtered
          ? text.leaderboard.noneMatch
          : {
              ...text.leaderboard.none,
              action: (
                <>
                  <Link className="button primary" href="/evaluations?upload=yes">
                    {text.upload.open}
                  </Link>
                  <code className="select">{text.leaderboard.command}</code>
                </>
              ),
            })
      }
    >
      {found.rows.map((board) => (
        <Board
          key={`${board.eval_set_digest} ${board.judge_digest} ${board.decoding_digest}`}
          board={board}
          query={query}
          alone={found.rows.length === 1 && !found.hasMore}
          waive={setWaiving}
        />
      ))}
      {found.hasMore && (
        <div>
          <button type="button" disabled={found.isFetchingMore} onClick={found.more}>
            {text.leaderboard.moreBoards}
          </button>
        </div>
      )}
      {waiving && <Waive evaluation={waiving} close={() => setWaiving(null)} />}
    </Page>
  )
}
