/** The tab of a run with where it comes from and what came of it. */
import { useQueries } from '@tanstack/react-query'
import { Link } from 'wouter'

import { get, type Schemas } from '../../api/client'
import { keyOf, useGet } from '../../api/hooks'
import { percent, shortId } from '../../parts/format'
import { Face, Section } from '../../parts/Page'
import { Time } from '../../parts/Time'
import { shell } from '../../parts/request'
import { runs as text } from '../../text'
import { EvaluationState, said as inWords } from '../evaluation/Queue'
import './runs.css'
import { isOver, RunStatus } from './status'

type Detail = Schemas['RunDetail']
const said = text.lineage
const GENERATIONS = 20
const FAMILIES = 20

interface Fork {
  run: string
  step: number
}

const isShown = (evaluation: Schemas['RunEvaluation']) => inWords(evaluation) !== ''

function RunLine({ run, how }: { run: Pick<Detail, 'run_id' | 'status' | 'created_at'>; how: string }) {
  return (
    <li>
      <Link href={`/runs/${run.run_id}`} className="mono" title={run.run_id}>
        {shortId(run.run_id)}
      </Link>
      <RunStatus status={run.status} />
      <span className="quiet">{how}</span>
      <span className="small quiet">
        <Time at={run.created_at} />
      </span>
      <Link className="small" href={`/runs/compare?run=${run.run_id}`}>
        {text.compare.open}
      </Link>
    </li>
  )
}

/** The run that one does again, the one that this does again, and so on. */
function Before({ id, fromStart, left = GENERATIONS }: { id: string; fromStart: boolean; left?: number }) {
  const found = useGet('/api/tunix/runs/{id}', { at: { id } })
  if (found.error) return <li className="quiet">{said.gone(shortId(id))}</li>
  if (!found.data) return <li className="quiet">{shortId(id)}</li>
  return (
    <>
      <RunLine run={found.data} how={fromStart ? said.anew : said.goesOn} />
      {found.data.retry_of !== null && left > 1 && <Before id={found.data.retry_of} fromStart={found.data.from_start} left={left - 1} />}
    </>
  )
}

function Origin({ run }: { run: Detail }) {
  const fork = run.provenance['forked_from'] as Fork | undefined
  const [family] = run.model_id.split(/[@:]/)
  return (
    <Section title={said.from}>
      <ul className="panel lineage">
        {run.retry_of !== null && <Before id={run.retry_of} fromStart={run.from_start} />}
        {fork && (
          <li>
            <span>{said.forked(fork.step)}</span> <code>{fork.run}</code>
          </li>
        )}
        <li>
          <span className="quiet">{text.facts.dataset}</span> <Link href={`/datasets/${encodeURIComponent(run.dataset_key)}`}>{run.dataset_key}</Link>
          <code className="small quiet" title={run.dataset_digest}>
            {run.dataset_digest.slice(0, 19)}
          </code>
        </li>
        <li>
          <span className="quiet">{text.facts.model}</span>{' '}
          {family !== undefined && family !== run.model_id ? <Link href={`/models/${encodeURIComponent(family)}`}>{run.model_id}</Link> : run.model_id}
        </li>
      </ul>
    </Section>
  )
}

/** Why a run has no evaluation, and what to do. */
function NotYet({ run }: { run: Detail }) {
  const { evaluation } = run
  if (isShown(evaluation))
    return (
      <li>
        <EvaluationState of={evaluation} /> {evaluation.eval_set} <span className="quiet">{evaluation.reason}</span>
      </li>
    )
  if (evaluation.state === 'planned') return <li className="quiet">{said.planned(evaluation.eval_set ?? '')}</li>
  return (
    <li className="quiet">
      {said.noEvaluations} {run.status === 'completed' ? said.evaluateIt : isOver(run.status) && said.noModel}
      {run.status === 'completed' && <code className="select">{shell('tunix-rt', 'runs', 'evaluate', run.run_id)}</code>}
    </li>
  )
}

function Evaluations({ run }: { run: Detail }) {
  const found = useGet('/api/evaluations', { query: { q: run.run_id, limit: 100 } })
  const own = (found.data?.data ?? []).filter((each) => each.run_id === run.run_id)
  return (
    <Section title={said.evaluations}>
      <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()}>
        <ul className="panel lineage">
          {own.length === 0 && <NotYet run={run} />}
          {own.length > 0 && isShown(run.evaluation) && (
            <li>
              <EvaluationState of={run.evaluation} /> <span className="quiet">{run.evaluation.eval_set}</span>
            </li>
          )}
          {own.map((each) => (
            <li key={each.id}>
              <Link href={`/evaluations/${each.id}`}>{each.eval_set}</Link>
              <strong className="num">{percent(each.score)}</strong>
              <span className="quiet">
                {each.judge} · {said.n(each.n_scored)}
              </span>
              <span className="small quiet">
                <Time at={each.created_at} />
              </span>
            </li>
          ))}
        </ul>
      </Face>
    </Section>
  )
}

/** Versions of the registry that this run's model became; the newest of each of the newest families are looked at. */
function Versions({ run }: { run: Detail }) {
  const families = useGet('/api/models', { query: { limit: FAMILIES } })
  const names = (families.data?.data ?? []).filter((family) => family.version_count > 0).map((family) => family.name)
  const versions = useQueries({
    queries: names.map((name) => {
      const call = { at: { name } }
      return { queryKey: keyOf('/api/models/{name}', call), queryFn: ({ signal }: { signal: AbortSignal }) => get('/api/models/{name}', { ...call, signal }) }
    }),
    combine: (found) => ({
      waits: found.some((one) => one.isPending),
      own: found.flatMap((one) => one.data?.versions ?? []).filter((version) => version.run_id === run.run_id),
    }),
  })
  return (
    <Section title={said.versions}>
      <Face loading={families.isPending || versions.waits} problem={families.error} again={() => void families.refetch()}>
        <ul className="panel lineage">
          {versions.own.length === 0 && <li className="quiet">{said.noVersions}</li>}
          {versions.own.map((version) => (
            <li key={version.id}>
              <Link href={`/models/${encodeURIComponent(version.name)}`}>{`${version.name}:${version.version}`}</Link>
              {version.aliases.length > 0 && <span className="quiet">{version.aliases.map((alias) => `@${alias}`).join(' ')}</span>}
              <span className="small quiet">
                <Time at={version.created_at} />
              </span>
            </li>
          ))}
        </ul>
      </Face>
    </Section>
  )
}

export function Lineage({ run }: { run: Detail }) {
  const retries = useGet('/api/tunix/runs', { query: { retry_of: run.run_id, mode: 'all', limit: 100 } })
  return (
    <>
      <Origin run={run} />
      <Section title={said.retries}>
        <Face loading={retries.isPending} problem={retries.error} again={() => void retries.refetch()}>
          <ul className="panel lineage">
            {retries.data?.data.length === 0 && <li className="quiet">{said.noRetries}</li>}
            {retries.data?.data.map((each) => <RunLine key={each.run_id} run={each} how={said.again} />)}
          </ul>
        </Face>
      </Section>
      {run.mode !== 'dry-run' && <Evaluations run={run} />}
      {run.status === 'completed' && run.mode !== 'dry-run' && <Versions run={run} />}
    </>
  )
}
