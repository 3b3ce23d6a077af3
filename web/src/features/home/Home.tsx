import { useState } from 'react'
import { Link } from 'wouter'

import { useGet } from '../../api/hooks'
import { pages } from '../../pages'
import { Badge } from '../../parts/Badge'
import { duration } from '../../parts/format'
import { Progress } from '../../parts/Interval'
import { Face, Page, Section } from '../../parts/Page'
import { Skeleton } from '../../parts/Skeleton'
import { Time } from '../../parts/Time'
import type { Schemas } from '../../api/client'
import { home as text, runs } from '../../text'
import { QueuedLine, useQueue, type Queued } from '../evaluation/Queue'
import { RunStatus } from '../runs/status'
import { lastVisit } from './visit'

type Run = Schemas['RunRow']

function RunLine({ run }: { run: Run }) {
  return (
    <li>
      <Link href={`/runs/${run.run_id}`} className="run-line">
        <RunStatus status={run.status} />
        <span className="grow cut">
          {run.dataset_key} · {run.model_id}
        </span>
        {run.progress && run.progress.total_steps > 0 && run.status === 'running' && (
          <>
            <Progress share={run.progress.step / run.progress.total_steps} label={runs.progress.steps(run.progress.step, run.progress.total_steps)} />
            {run.progress.eta_seconds !== null && <span className="quiet small">{runs.progress.left(duration(run.progress.eta_seconds))}</span>}
          </>
        )}
        <span className="quiet small">
          <Time at={run.completed_at ?? run.started_at ?? run.created_at} />
        </span>
      </Link>
    </li>
  )
}

interface RunsProps {
  title: string
  status: string[]
  /** Of evaluations that are listed above the runs: they are claimed first. */
  evaluations: Queued['state']
  query?: Record<string, string | null>
  none: string
  more: string
}

function Runs({ title, status, evaluations, query, none, more }: RunsProps) {
  const queued = useQueue(evaluations)
  const found = useGet('/api/tunix/runs', { query: { status, limit: 6, ...query } })
  return (
    <Section
      title={title}
      beside={
        <Link className="small" href={more}>
          {text.all}
        </Link>
      }
    >
      <div className="panel flush">
        <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()} skeleton={<Skeleton lines={3} />}>
          {found.data && (found.data.data.length > 0 || queued.length > 0) ? (
            <ul>
              {queued.slice(0, 6).map((each) => (
                <QueuedLine key={each.job} of={each} />
              ))}
              {found.data.data.map((run) => (
                <RunLine key={run.run_id} run={run} />
              ))}
            </ul>
          ) : (
            <p className="quiet pad">{none}</p>
          )}
        </Face>
      </div>
    </Section>
  )
}

/** The loop with what is done; the first that is not is one button. */
function Loop() {
  const traces = useGet('/api/traces', { query: { limit: 1 } })
  const datasets = useGet('/api/datasets', { query: { limit: 1 } })
  const done = useGet('/api/tunix/runs', { query: { status: 'completed', mode: 'local', limit: 1 } })
  const evaluations = useGet('/api/evaluations', { query: { limit: 1 } })
  const all = [
    { id: 'traces', found: traces, to: '/traces/new' },
    { id: 'dataset', found: datasets, to: '/datasets/new' },
    { id: 'run', found: done, to: '/runs/new' },
    { id: 'evaluate', found: evaluations, to: `/runs/${done.data?.data[0]?.run_id ?? ''}` },
  ] as const
  if (all.some((step) => !step.found.data)) return null
  const next = all.find((step) => step.found.data?.data.length === 0)
  if (!next) return null
  // A page that this build does not have is left out of the way.
  const reachable = pages.some((page) => page.path === next.to) || next.id === 'evaluate'
  return (
    <section className="loop panel" aria-label={text.loop}>
      <ol>
        {all.map((step) => {
          const isDone = (step.found.data?.data.length ?? 0) > 0
          return (
            <li key={step.id} aria-current={step === next ? 'step' : undefined}>
              <Badge tone={isDone ? 'good' : step === next ? 'busy' : 'wait'}>{isDone ? text.done : step === next ? text.now : text.todo}</Badge>
              <span>{text.steps[step.id].title}</span>
            </li>
          )
        })}
      </ol>
      <div className="loop-next">
        <p>{text.steps[next.id].detail}</p>
        {reachable && (
          <Link className="button primary" href={next.to}>
            {text.steps[next.id].action}
          </Link>
        )}
      </div>
    </section>
  )
}

function Since() {
  const [before] = useState(lastVisit)
  const found = useGet(
    '/api/tunix/runs',
    { query: { status: ['completed', 'failed', 'timeout', 'cancelled'], limit: 50 } },
    { enabled: before !== null },
  )
  const changed = (found.data?.data ?? []).filter((run) => before && run.completed_at && run.completed_at > before)
  return (
    <Section title={text.since} beside={before ? <span className="quiet small"><Time at={before} /></span> : undefined}>
      <div className="panel flush">
        {before === null ? (
          <p className="quiet pad">{text.sinceFirst}</p>
        ) : (
          <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()} skeleton={<Skeleton lines={3} />}>
            {changed.length ? (
              <ul>
                {changed.slice(0, 8).map((run) => (
                  <RunLine key={run.run_id} run={run} />
                ))}
              </ul>
            ) : (
              <p className="quiet pad">{text.nothingChanged}</p>
            )}
          </Face>
        )}
      </div>
    </Section>
  )
}

function Workers() {
  const workers = useGet('/api/workers')
  const alive = (workers.data?.data ?? []).filter((worker) => worker.alive)
  return (
    <Link href="/system" className="quiet small row">
      {workers.data && <Badge tone={alive.length ? 'good' : 'warn'}>{text.workersAlive(alive.length)}</Badge>}
    </Link>
  )
}

export default function Home() {
  const [monthAgo] = useState(() => new Date(Date.now() - 30 * 86_400_000).toISOString())
  return (
    <Page title={text.title} actions={<Workers />}>
      <Loop />
      <div className="columns home-columns">
        <Runs title={text.running} status={['running', 'cancel_requested']} evaluations="running" none={text.nothingRuns} more="/runs?status=running" />
        <Runs title={text.queue} status={['pending']} evaluations="waiting" none={text.nothingWaits} more="/runs?status=pending" />
        <Runs
          title={text.failed}
          status={['failed', 'timeout']}
          evaluations="failed"
          query={{ created_after: monthAgo }}
          none={text.nothingFailed}
          more="/runs?status=failed&status=timeout"
        />
        <Since />
      </div>
    </Page>
  )
}
