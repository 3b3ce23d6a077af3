import { useId, useMemo } from 'react'
import { Link } from 'wouter'

import type { Query, Schemas } from '../../api/client'
import type { Filter } from '../../parts/Filters'
import { duration, number, percent, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Progress } from '../../parts/Interval'
import { ListPage } from '../../parts/ListPage'
import { usePlace, type Place } from '../../parts/place'
import { shell } from '../../parts/request'
import type { Column } from '../../parts/Table'
import { Time } from '../../parts/Time'
import { runs as text } from '../../text'
import { RunStatus, STATUSES } from './status'

type Run = Schemas['RunRow']

const FILTERS: Filter[] = [
  { kind: 'choices', name: 'status', label: text.filters.status, options: STATUSES.map((status) => ({ value: status, label: text.status[status] })) },
  { kind: 'text', name: 'dataset_key', label: text.filters.dataset },
  { kind: 'text', name: 'model_id', label: text.filters.model },
  { kind: 'choice', name: 'engine', label: text.filters.engine, options: ['tunix', 'torch'] },
  {
    kind: 'choice',
    name: 'mode',
    label: text.filters.mode,
    any: text.filters.trainings,
    options: [
      { value: 'dry-run', label: text.filters.dryRuns },
      { value: 'all', label: text.filters.both },
    ],
  },
  { kind: 'text', name: 'where', label: text.filters.condition, placeholder: text.filters.conditionPlaceholder },
]

const COLUMNS: Column<Run>[] = [
  {
    id: 'run',
    name: text.columns.run,
    cell: (run) => (
      <Link href={`/runs/${run.run_id}`} className="mono" title={run.run_id}>
        {shortId(run.run_id)}
      </Link>
    ),
  },
  { id: 'status', name: text.columns.status, sort: 'status', cell: (run) => <RunStatus status={run.status} /> },
  { id: 'dataset', name: text.columns.dataset, sort: 'dataset_key', cell: (run) => run.dataset_key },
  { id: 'model', name: text.columns.model, wide: true, sort: 'model_id', cell: (run) => run.model_id },
  { id: 'engine', name: text.columns.engine, wide: true, sort: 'engine', cell: (run) => run.engine },
  { id: 'mode', name: text.columns.mode, wide: true, sort: 'mode', cell: (run) => text.mode[run.mode] },
  {
    id: 'progress',
    name: text.columns.progress,
    wide: true,
    cell: (run) =>
      run.progress && run.progress.total_steps > 0 ? (
        <span className="row nowrap">
          <Progress
            share={run.progress.step / run.progress.total_steps}
            label={text.progress.steps(run.progress.step, run.progress.total_steps)}
          />
          <span className="quiet small num">{percent(run.progress.step / run.progress.total_steps, 0)}</span>
        </span>
      ) : (
        <span className="quiet">–</span>
      ),
  },
  { id: 'loss', name: text.columns.loss, right: true, wide: true, sort: 'metric.loss', cell: (run) => number(run.metrics['loss']) },
  { id: 'evalLoss', name: text.columns.evalLoss, right: true, wide: true, sort: 'metric.eval_loss', cell: (run) => number(run.metrics['eval_loss']) },
  { id: 'score', name: text.columns.score, right: true, wide: true, sort: 'score', cell: (run) => percent(run.score) },
  { id: 'created', name: text.columns.created, right: true, sort: 'created_at', cell: (run) => <Time at={run.created_at} /> },
  { id: 'started', name: text.columns.started, right: true, wide: true, sort: 'started_at', cell: (run) => <Time at={run.started_at} /> },
  { id: 'completed', name: text.columns.completed, right: true, wide: true, sort: 'completed_at', cell: (run) => <Time at={run.completed_at} /> },
  {
    id: 'duration',
    name: text.columns.duration,
    right: true,
    wide: true,
    sort: 'duration_seconds',
    cell: (run) => (run.duration_seconds === null ? <span className="quiet">–</span> : duration(run.duration_seconds)),
  },
  { id: 'attempt', name: text.columns.attempt, right: true, wide: true, sort: 'attempt', cell: (run) => run.attempt },
]
const USUAL = ['run', 'status', 'dataset', 'model', 'mode', 'progress', 'loss', 'score', 'created', 'duration']
/** Runs that can be compared at once. */
const COMPARED = 8

function Columns({ place, chosen }: { place: Place; chosen: string[] }) {
  const id = useId()
  return (
    <div className="menu-holder">
      <button type="button" className="ghost" popoverTarget={id}>
        <Icon name="columns" size={16} /> {text.columns.label}
      </button>
      <fieldset id={id} popover="auto" className="menu">
        <legend className="unseen">{text.columns.label}</legend>
        {COLUMNS.slice(1).map((column) => (
          <label key={column.id} className="menu-item">
            <input
              type="checkbox"
              checked={chosen.includes(column.id)}
              onChange={(event) => {
                const next = COLUMNS.map((each) => each.id).filter((each) => (each === column.id ? event.target.checked : chosen.includes(each)))
                place.set({ columns: next.join() === USUAL.join() ? null : next.join() })
              }}
            />
            {column.name}
          </label>
        ))}
      </fieldset>
    </div>
  )
}

/** A column that chooses runs to compare. */
function chooser(place: Place, chosen: readonly string[]): Column<Run> {
  return {
    id: 'choose',
    name: text.choose.column,
    wide: true,
    width: '32px',
    cell: (run) => (
      <input
        type="checkbox"
        aria-label={text.choose.one(shortId(run.run_id))}
        checked={chosen.includes(run.run_id)}
        disabled={chosen.length >= COMPARED && !chosen.includes(run.run_id)}
        onChange={(event) => place.set({ run: event.target.checked ? [...chosen, run.run_id] : chosen.filter((each) => each !== run.run_id) })}
      />
    ),
  }
}

function Chosen({ place, chosen }: { place: Place; chosen: readonly string[] }) {
  if (chosen.length === 0) return null
  return (
    <p className="row picked" role="status">
      <Icon name="compare" size={16} /> {text.choose.chosen(chosen.length)}
      {chosen.length > 1 && (
        <Link className="button" href={`/runs/compare?${chosen.map((id) => `run=${id}`).join('&')}`}>
          {text.choose.compare}
        </Link>
      )}
      <button type="button" className="ghost" onClick={() => place.set({ run: null })}>
        {text.choose.none}
      </button>
    </p>
  )
}

/** `loss<0.5` or `param.seed=1` as the API takes it: a query string splits at the first `=`. */
export function condition(words: string): Query {
  const bare = words.replace(/\s+/g, '')
  if (!bare) return {}
  const trimmed = /^(metric|param)\./.test(bare) ? bare : `metric.${bare}`
  const equals = trimmed.indexOf('=')
  return equals < 0 ? { [trimmed]: '' } : { [trimmed.slice(0, equals)]: trimmed.slice(equals + 1) }
}

export default function RunList() {
  const place = usePlace()
  const query: Query = {
    status: place.all('status'),
    dataset_key: place.get('dataset_key'),
    model_id: place.get('model_id'),
    engine: place.get('engine'),
    mode: place.get('mode'),
    ...condition(place.get('where')),
  }
  const shown = place.get('columns') || USUAL.join()
  const compared = place.all('run')
  const compare = compared.join()
  const columns = useMemo(() => {
    const ids = shown.split(',')
    const some = COLUMNS.filter((column) => column.id === 'run' || ids.includes(column.id))
    return [chooser(place, compare ? compare.split(',') : []), ...some]
  }, [shown, compare, place])
  return (
    <ListPage
      path="/api/tunix/runs"
      text={text}
      filters={FILTERS}
      query={query}
      columns={columns}
      keyOf={(run) => run.run_id}
      command={shell(
        'tunix-rt', 'runs', 'list',
        ...place.all('status').flatMap((status) => ['--status', status]),
        ...(['dataset_key', 'model_id', 'engine', 'mode'] as const).flatMap((name) =>
          place.get(name) ? [`--${name.replace(/_(key|id)$/, '')}`, place.get(name)] : [],
        ),
      )}
      actions={<Columns place={place} chosen={shown.split(',')} />}
      start={
        <Link className="button primary" href="/runs/new">
          <Icon name="plus" size={16} /> {text.start}
        </Link>
      }
    >
      <Chosen place={place} chosen={compared} />
    </ListPage>
  )
}
