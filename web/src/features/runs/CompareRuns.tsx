/** Runs beside each other: figures, config, curves, answers. Which ones is in the address: `?run=A&run=B`. */
import { useQueries, useQueryClient } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { Link } from 'wouter'

import { address, get, type Schemas } from '../../api/client'
import { keyOf, useGet } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { duration, number, percent, relative, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Interval } from '../../parts/Interval'
import { Page, Section } from '../../parts/Page'
import { usePlace, type Place } from '../../parts/place'
import { shell } from '../../parts/request'
import { runs as text } from '../../text'
import { EvaluationState, said as inWords } from '../evaluation/Queue'
import { range, scale } from '../evaluation/words'
import '../evaluation/evaluation.css'
import { configRows, last, lowest, MOST, pairs, tokensPerSecond } from './compare'
import { CompareAnswers } from './CompareAnswers'
import { CompareCurves } from './CompareCurves'
import { flat, word } from './config'
import type { Answer } from './curve'
import { useWay } from './CurveControls'
import { RunKey } from './RunKey'
import './runs.css'
import { isRunning, RunStatus } from './status'

type Detail = Schemas['RunDetail']
interface Compared extends Answer {
  id: string
  run: Detail
  evaluations: Schemas['EvaluationView'][]
}

const said = text.compare
const MAX_POINTS = 1200
const METRICS = '/api/tunix/runs/{id}/metrics'
const LIVE_MS = 5000

/** All that is shown of each run that the address names. */
function useCompared(ids: readonly string[], smooth: number) {
  const client = useQueryClient()
  const details = useQueries({
    queries: ids.map((id) => {
      const call = { at: { id } }
      return { queryKey: keyOf('/api/tunix/runs/{id}', call), queryFn: ({ signal }: { signal: AbortSignal }) => get('/api/tunix/runs/{id}', { ...call, signal }) }
    }),
  })
  const metrics = useQueries({
    queries: ids.map((id, at) => {
      const call = { at: { id }, query: { max_points: MAX_POINTS, ...(smooth > 0 && { smooth }) } }
      const run = details[at]?.data
      return {
        queryKey: keyOf(METRICS, call),
        queryFn: ({ signal }: { signal: AbortSignal }) => get(METRICS, { ...call, signal }),
        // While it is smoothed by another amount, what is known of the same run stays.
        placeholderData: () => client.getQueriesData<Schemas['Series']>({ queryKey: [METRICS], predicate: ({ queryKey }) => String(queryKey[1]).startsWith(address(METRICS, { at: { id } })) }).find(([, data]) => data)?.[1],
        refetchInterval: run && isRunning(run.status) ? LIVE_MS : (false as const),
      }
    }),
  })
  const evaluations = useQueries({
    queries: details.map(({ data }) => {
      const call = { query: { q: data?.run_id ?? '', limit: 100 } }
      return {
        queryKey: keyOf('/api/evaluations', call),
        queryFn: ({ signal }: { signal: AbortSignal }) => get('/api/evaluations', { ...call, signal }),
        enabled: data !== undefined,
      }
    }),
  })
  const all = [...details, ...metrics, ...evaluations]
  const runs = ids.flatMap((_, at): Compared[] => {
    const [run, answer, found] = [details[at]?.data, metrics[at]?.data, evaluations[at]?.data?.data]
    if (!run || !answer || !found) return []
    return [{ id: run.run_id, run, ...answer, evaluations: found.filter((each) => each.run_id === run.run_id) }]
  })
  return {
    runs,
    waits: all.some((one) => one.isPending),
    problem: all.find((one) => one.error)?.error,
    again: () => {
      for (const one of all) if (one.error) void one.refetch()
    },
  }
}

function Picker({ ids, place }: { ids: readonly string[]; place: Place }) {
  const newest = useGet('/api/tunix/runs', { query: { mode: 'local', limit: 200 } })
  const now = new Date()
  const others = (newest.data?.data ?? []).filter((run) => !ids.some((id) => run.run_id.startsWith(id)))
  const choose = (next: readonly string[]) => place.set({ run: next, base: null, other: null, board: null, item: null })
  return (
    <div className="run-keys">
      <ul className="run-keys" aria-label={said.chosen}>
        {ids.map((id, at) => (
          <li key={id} className="run-key run-chip">
            <RunKey place={at} name={id} />
            <button type="button" className="ghost square slim" aria-label={said.remove(shortId(id))} onClick={() => choose(ids.filter((each) => each !== id))}>
              <Icon name="close" size={14} />
            </button>
          </li>
        ))}
      </ul>
      {ids.length < MOST && (
        <label className="filter pick">
          <span>{said.add}</span>
          <select value="" onChange={(event) => choose([...ids, event.target.value])}>
            <option value="">{newest.data && others.length === 0 ? said.none : said.choose}</option>
            {others.map((run) => (
              <option key={run.run_id} value={run.run_id}>
                {`${shortId(run.run_id)} · ${run.dataset_key} · ${run.model_id} · ${text.status[run.status]} · ${relative(new Date(run.created_at), now)}`}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  )
}

function Heads({ runs, first }: { runs: readonly Compared[]; first: string }) {
  return (
    <thead>
      <tr>
        <th scope="col">{first}</th>
        {runs.map((each, at) => (
          <th key={each.id} scope="col">
            <Link href={`/runs/${each.id}`}>
              <RunKey place={at} name={each.id} />
            </Link>
          </th>
        ))}
      </tr>
    </thead>
  )
}

function Figures({ runs }: { runs: readonly Compared[] }) {
  const newest = runs.map((each) => each.evaluations[0])
  const [from, to] = scale(newest.map((each) => each?.ci))
  const rows: [string, (of: Compared, at: number) => ReactNode][] = [
    [text.facts.dataset, ({ run }) => <Link href={`/datasets/${encodeURIComponent(run.dataset_key)}`}>{run.dataset_key}</Link>],
    [text.facts.model, ({ run }) => run.model_id],
    [text.columns.status, ({ run }) => <RunStatus status={run.status} reason={run.status_reason} />],
    [said.steps, ({ run }) => (run.progress ? text.progress.steps(run.progress.step, run.progress.total_steps) : '–')],
    [text.facts.took, ({ run }) => (run.duration_seconds === null ? '–' : duration(run.duration_seconds))],
    [said.lastLoss, ({ series }) => number(last(series['loss'] ?? []))],
    [said.lastEval, ({ series }) => number(last(series['eval_loss'] ?? []))],
    [
      said.best,
      ({ series }) => {
        const best = lowest(series['eval_loss'] ?? [])
        return best ? said.bestAt(number(best.value), best.step) : '–'
      },
    ],
    [said.speed, ({ series }) => number(tokensPerSecond(series['tokens'] ?? [], series['step_seconds'] ?? []))],
    [
      said.score,
      ({ run }, at) => {
        const found = newest[at]
        if (!found) return inWords(run.evaluation) ? <EvaluationState of={run.evaluation} /> : <span className="quiet">{said.notEvaluated}</span>
        return (
          <span className="stack tight">
            <span className="row nowrap">
              <Link href={`/evaluations/${found.id}`}>{percent(found.score)}</Link>
              <Interval value={found.score} low={found.ci?.[0] ?? null} high={found.ci?.[1] ?? null} from={from} to={to} pale={!found.established} />
            </span>
            <span className="small quiet">{said.scoreOn(found.eval_set, number(found.n_scored), range(found.ci))}</span>
          </span>
        )
      },
    ],
  ]
  return (
    <Section title={said.figures}>
      <div className="panel flush scroll-x" role="region" aria-label={said.figures} tabIndex={0}>
        <table className="plain compared">
          <Heads runs={runs} first={said.figure} />
          <tbody>
            {rows.map(([name, cell]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {runs.map((each, at) => (
                  <td key={each.id} className="num">
                    {cell(each, at)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  )
}

function Configs({ runs, place }: { runs: readonly Compared[]; place: Place }) {
  const whole = place.get('config') === 'whole'
  const rows = configRows(runs.map((each) => flat(each.run.config)))
  const differing = rows.filter((row) => row.differs)
  const shown = whole ? rows : differing
  const sameData = runs.every((each) => each.run.dataset_digest === runs[0]?.run.dataset_digest)
  return (
    <Section
      title={said.config}
      beside={
        <label className="inline">
          <span>{said.show}</span>
          <select value={whole ? 'whole' : ''} onChange={(event) => place.set({ config: event.target.value })}>
            <option value="">{said.differences}</option>
            <option value="whole">{said.whole}</option>
          </select>
        </label>
      }
    >
      <p className="quiet">
        {differing.length === 0 && `${said.same} `}
        {sameData ? said.sameData : said.otherData}
      </p>
      {shown.length > 0 && (
        <div className="panel flush scroll-x" role="region" aria-label={said.config} tabIndex={0}>
          <table className="plain compared">
            <Heads runs={runs} first={text.config.key} />
            <tbody>
              {shown.map((row) => (
                <tr key={row.key} className={whole && row.differs ? 'differs' : undefined}>
                  <th scope="row" className="mono">
                    {whole && row.differs ? `≠ ${row.key}` : row.key}
                  </th>
                  {row.values.map((each, at) => (
                    <td key={runs[at]?.id} className="mono value">
                      {word(each)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Section>
  )
}

export default function CompareRuns() {
  const place = usePlace()
  const named = [...new Set(place.all('run'))]
  const ids = named.slice(0, MOST)
  const { runs, waits, problem, again } = useCompared(ids, useWay().amount)
  const [pair] = pairs(runs[0]?.evaluations ?? [], runs[1]?.evaluations ?? [])
  return (
    <Page
      title={said.title}
      above={<Link href="/runs">{text.title}</Link>}
      actions={
        ids.length > 0 && (
          <CopyAs
            command={[
              ...ids.map((id) => shell('tunix-rt', 'runs', 'metrics', id)),
              ...(pair ? [shell('tunix-rt', 'compare', pair.base.id, pair.other.id)] : []),
            ].join('\n')}
            request={{
              address: pair
                ? address('/api/evaluations/compare', { query: { base: pair.base.id, other: pair.other.id } })
                : address(METRICS, { at: { id: ids[0] ?? '' } }),
            }}
          />
        )
      }
      bar={<Picker ids={ids} place={place} />}
      loading={ids.length > 1 && waits}
      problem={ids.length > 0 && problem}
      again={again}
      empty={ids.length === 0 ? said.pick : ids.length === 1 ? said.pickOther : null}
    >
      {named.length > MOST && <p className="quiet">{said.most(MOST)}</p>}
      <Figures runs={runs} />
      <Configs runs={runs} place={place} />
      <CompareCurves runs={runs} />
      <CompareAnswers runs={runs} />
    </Page>
  )
}
