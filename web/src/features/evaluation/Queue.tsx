/** Evaluations of runs that are not there yet: they wait, are being done, or failed. */
import { Link } from 'wouter'

import type { Schemas } from '../../api/client'
import { useGet } from '../../api/hooks'
import { Badge, type Tone } from '../../parts/Badge'
import { Time } from '../../parts/Time'
import { evaluation as text } from '../../text'

type OfRun = Schemas['RunEvaluation']
export type Queued = Schemas['QueuedEvaluation']

const words = text.queue
const TONES: Record<string, Tone> = { waiting: 'wait', running: 'busy', failed: 'bad' }
/** Rows above the list of evaluations. */
const MOST = 5

/** What there is to say of an evaluation that is not done: empty where there is nothing. */
export function said(of: OfRun): string {
  if (of.state === 'waiting') return words.waiting(of.before ?? 0)
  return of.state === 'running' ? words.running : of.state === 'failed' ? words.failed : ''
}

export function EvaluationState({ of }: { of: OfRun }) {
  if (!said(of)) return null
  return (
    <Badge tone={TONES[of.state] ?? 'off'} title={of.reason ?? undefined}>
      {said(of)}
    </Badge>
  )
}

export function useQueue(state?: Queued['state']): Queued[] {
  const found = useGet('/api/evaluations/queue')
  return (found.data?.data ?? []).filter((each) => state === undefined || each.state === state)
}

export function QueuedLine({ of }: { of: Queued }) {
  return (
    <li>
      <Link href={`/runs/${of.run_id}`} className="run-line">
        <EvaluationState of={of} />
        <span className="grow cut" title={of.reason ?? undefined}>
          {[of.eval_set, of.dataset_key, of.model_id].join(' · ')}
        </span>
        <span className="quiet small">
          <Time at={of.created_at} />
        </span>
      </Link>
    </li>
  )
}

/** Above the evaluations: those that are still to come, the next ones first. */
export function Queue() {
  const all = useQueue()
  if (all.length === 0) return null
  return (
    <section className="panel flush" aria-label={words.title}>
      <ul>
        {all.slice(0, MOST).map((each) => (
          <QueuedLine key={each.job} of={each} />
        ))}
      </ul>
      {all.length > MOST && <p className="quiet small pad">{words.more(all.length - MOST)}</p>}
    </section>
  )
}
