import { useState } from 'react'
import { Link, useParams } from 'wouter'

import { type Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { CopyAs, Id } from '../../parts/copy'
import { duration, number, percent, shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Facts, Page } from '../../parts/Page'
import { shell } from '../../parts/request'
import { Tabs, type Tab } from '../../parts/Tabs'
import { Time } from '../../parts/Time'
import { pages } from '../../pages'
import { models, runs as text } from '../../text'
import { EvaluationState } from '../evaluation/Queue'
import { PromoteDialog } from '../models/PromoteDialog'
import { Actions } from './Actions'
import { Curves } from './Curves'
import { Evaluate, Score } from './Evaluate'
import { Lineage } from './Lineage'
import { LogView } from './LogView'
import { Config, Files, History } from './Parts'
import { Checks } from './Plan'
import { Samples } from './Samples'
import { isOver, RunStatus } from './status'

type Detail = Schemas['RunDetail']

function ProgressLine({ run }: { run: Detail }) {
  const { progress, status } = run
  if (status === 'pending') return <p className="panel">{run.status_reason ?? text.progress.waiting}</p>
  if (status === 'running' && (!progress || progress.total_steps === 0)) return <p className="panel quiet">{text.progress.preparing}…</p>
  if (!progress || progress.total_steps === 0) return null
  return (
    <div className="panel progress-line">
      <progress value={progress.step} max={progress.total_steps} aria-label={text.progress.label} />
      <span className="num">{text.progress.steps(progress.step, progress.total_steps)}</span>
      <span className="quiet num">{percent(progress.step / progress.total_steps, 0)}</span>
      {status === 'running' && progress.eta_seconds !== null && <span className="num">{text.progress.left(duration(progress.eta_seconds))}</span>}
    </div>
  )
}

/** Why the evaluation of a completed run is not there yet, or failed. */
function Waiting({ run }: { run: Detail }) {
  const { state, reason } = run.evaluation
  if (state === 'failed')
    return (
      <div className="problem">
        <p className="said">{text.evaluate.failed(reason ?? '–')}</p>
        <p>{text.evaluate.again}</p>
      </div>
    )
  if (state !== 'waiting' || reason === null) return null
  return (
    <p className="panel row">
      <EvaluationState of={run.evaluation} /> <span>{reason}</span>
    </p>
  )
}

function Overview({ run }: { run: Detail }) {
  const datasetPage = pages.some((page) => page.path === '/datasets/:key')
  const dry = run.mode === 'dry-run'
  return (
    <>
      {dry && <p className="quiet">{text.dry}</p>}
      {!dry && <ProgressLine run={run} />}
      {isOver(run.status) && run.status !== 'completed' && (run.status_reason ?? run.crash_reason) && (
        <div className={run.status === 'cancelled' ? 'panel' : 'problem'}>
          <p className="said">{run.status_reason ?? run.crash_reason}</p>
        </div>
      )}
      <Waiting run={run} />
      {dry && run.result && <Checks checks={run.result} />}
      {!dry && <Curves key={run.run_id} id={run.run_id} step={run.progress?.step} live={!isOver(run.status)} />}
      <div className="panel">
        <Facts
          facts={[
            [
              text.facts.dataset,
              datasetPage ? <Link href={`/datasets/${encodeURIComponent(run.dataset_key)}`}>{run.dataset_key}</Link> : run.dataset_key,
            ],
            [text.facts.model, run.model_id],
            [text.facts.engine, run.engine],
            [text.facts.kind, text.mode[run.mode]],
            [text.facts.asked, <Time key="asked" at={run.created_at} />],
            [text.facts.waited, run.wait_seconds === null ? '–' : duration(run.wait_seconds)],
            [text.facts.started, <Time key="started" at={run.started_at} />],
            [text.facts.ended, <Time key="ended" at={run.completed_at} />],
            [text.facts.took, run.duration_seconds === null ? '–' : duration(run.duration_seconds)],
            [text.facts.attempt, text.facts.of(run.attempt, run.max_attempts)],
            [text.facts.worker, run.worker],
            [text.facts.exit, run.exit_code === null ? '–' : String(run.exit_code)],
            run.timeout_seconds !== null && [text.facts.limit, duration(run.timeout_seconds)],
            run.eval_set !== null && [text.facts.evalSet, run.evaluation.state === 'planned' ? text.facts.whenCompleted(run.eval_set) : run.eval_set],
            run.score !== null && [text.facts.score, <Score key="score" run={run} />],
            run.retry_of !== null && [
              text.facts.retryOf,
              <Link key="retry" className="mono" href={`/runs/${run.retry_of}`}>
                {shortId(run.retry_of)}
              </Link>,
            ],
            ...Object.entries(run.metrics)
              .filter(([name]) => name === 'loss' || name === 'eval_loss')
              .map(([name, value]) => [name, number(value)] as const),
          ]}
        />
      </div>
    </>
  )
}

export default function RunPage() {
  const { id = '' } = useParams<{ id: string }>()
  const found = useGet('/api/tunix/runs/{id}', { at: { id } })
  const [asking, setAsking] = useState<'evaluate' | 'promote' | null>(null)
  const run = found.data
  const over = run ? isOver(run.status) : false
  const tabs: Tab[] = run
    ? [
        { id: 'overview', name: text.tabs.overview, content: () => <Overview run={run} /> },
        { id: 'logs', name: text.tabs.logs, content: () => <LogView key={run.run_id} id={run.run_id} over={over} /> },
        ...(run.mode === 'dry-run' ? [] : [{ id: 'samples', name: text.tabs.samples, content: () => <Samples key={run.run_id} run={run} /> }]),
        { id: 'files', name: text.tabs.files, content: () => <Files run={run} /> },
        { id: 'config', name: text.tabs.config, content: () => <Config run={run} /> },
        { id: 'lineage', name: text.tabs.lineage, content: () => <Lineage key={run.run_id} run={run} /> },
        { id: 'history', name: text.tabs.history, count: run.events.length, content: () => <History run={run} /> },
      ]
    : []
  return (
    <Page
      title={run ? `${run.dataset_key} · ${run.model_id}` : text.run(shortId(id))}
      above={<Link href="/runs">{text.title}</Link>}
      beside={
        run && (
          <>
            <RunStatus status={run.status} reason={run.status_reason} />
            <EvaluationState of={run.evaluation} />
            {run.mode === 'dry-run' && (
              <Badge tone="off" title={text.dry}>
                {text.mode['dry-run']}
              </Badge>
            )}
            <Id id={run.run_id} />
          </>
        )
      }
      actions={
        run && (
          <>
            <CopyAs command={shell('tunix-rt', 'runs', 'show', run.run_id)} request={{ address: `/api/tunix/runs/${run.run_id}` }} />
            <Link className="button" href={`/runs/new?from=${run.run_id}`}>
              <Icon name="plus" size={16} /> {text.form.like}
            </Link>
            {run.mode !== 'dry-run' && (
              <Link className="button" href={`/runs/compare?run=${run.run_id}`}>
                <Icon name="compare" size={16} /> {text.compare.open}
              </Link>
            )}
            {run.status === 'completed' && run.mode !== 'dry-run' && (
              <button type="button" className="primary" onClick={() => setAsking('evaluate')}>
                <Icon name="evaluations" size={16} /> {text.evaluate.open}
              </button>
            )}
            {run.status === 'completed' && run.mode !== 'dry-run' && (
              <button type="button" onClick={() => setAsking('promote')}>
                <Icon name="models" size={16} /> {models.promote.open}
              </button>
            )}
            <Actions run={run} />
          </>
        )
      }
      loading={found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
    >
      <Tabs label={text.tabs.label} tabs={tabs} />
      {run && asking === 'evaluate' && <Evaluate run={run} close={() => setAsking(null)} />}
      {run && asking === 'promote' && <PromoteDialog run={run} close={() => setAsking(null)} />}
    </Page>
  )
}
