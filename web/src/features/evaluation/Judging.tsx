import { useEffect, useRef, useState } from 'react'
import { useLocation } from 'wouter'

import { send, type Schemas } from '../../api/client'
import { useAct } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { Confirm, Dialog } from '../../parts/Dialog'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { Skeleton } from '../../parts/Skeleton'
import { common, evaluation as text } from '../../text'
import { JudgeField } from './JudgeField'
import { slow, Waiting } from './Waiting'
import { CHANGES, type Evaluation } from './words'

export function JudgeAgain({ evaluation, close }: { evaluation: Evaluation; close: () => void }) {
  const [, go] = useLocation()
  const [judge, setJudge] = useState('')
  const [waited, wait] = useState<Schemas['JudgingView'] | null>(null)
  const act = useAct(
    () =>
      send('post', '/api/evaluations/{evaluation_id}/judge', {
        at: { evaluation_id: evaluation.id },
        query: { judge: judge.trim(), ...(slow(judge) ? { mode: 'async' } : {}) },
      }),
    CHANGES,
    (made) => {
      if ('job' in made) return wait(made)
      say(text.judging.done(made.judge))
      close()
      go(`/evaluations/${made.id}`)
    },
  )
  if (waited) return <Waiting judging={waited} close={close} />
  return (
    <Confirm
      title={text.judging.title}
      action={act.isPending ? text.judging.busy : text.judging.act}
      busy={act.isPending || judge.trim() === ''}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <p>{text.judging.detail}</p>
      <JudgeField value={judge} choose={setJudge} />
      <CopyAs
        command={shell('tunix-rt', 'evaluations', 'judge', evaluation.id, '--judge', judge.trim() || 'numeric')}
        request={{ method: 'POST', address: `/api/evaluations/${evaluation.id}/judge?judge=${encodeURIComponent(judge.trim() || 'numeric')}` }}
      />
    </Confirm>
  )
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function Result({ of }: { of: Schemas['Verified'] }) {
  return (
    <div className="stack">
      <p>
        <Badge tone={of.ok ? 'good' : 'bad'}>{of.ok ? text.verifying.ok : text.verifying.notOk}</Badge>
      </p>
      <p>
        {text.verifying.items(of.n_items)} {of.not_judged === null ? text.verifying.judged(of.n_judged) : text.verifying.notJudged(of.not_judged)}
      </p>
      {of.differences.length > 0 && (
        <div className="scroll-x">
          <h3>{text.verifying.differences(of.differences.length, of.n_differences)}</h3>
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">{text.verifying.what}</th>
                <th scope="col">{text.verifying.stored}</th>
                <th scope="col">{text.verifying.computed}</th>
              </tr>
            </thead>
            <tbody>
              {of.differences.map((one) => (
                <tr key={one.what}>
                  <th scope="row">{one.what}</th>
                  <td>
                    <code>{show(one.stored)}</code>
                  </td>
                  <td>
                    <code>{show(one.computed)}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  )
}

/** Computes every figure again as soon as it is opened, and says what came out. */
export function Verify({ evaluation, close }: { evaluation: Evaluation; close: () => void }) {
  const act = useAct(() => send('post', '/api/evaluations/{evaluation_id}/verify', { at: { evaluation_id: evaluation.id } }))
  const started = useRef(false)
  const { mutate } = act
  useEffect(() => {
    if (started.current) return
    started.current = true
    mutate(undefined)
  }, [mutate])
  return (
    <Dialog title={`${text.verifying.title}: ${evaluation.name}`} close={close}>
      <div className="dialog-body" aria-live="polite">
        {act.data ? (
          <Result of={act.data} />
        ) : act.error ? (
          <ProblemBox problem={act.error} again={() => mutate(undefined)} />
        ) : (
          <>
            <p className="quiet">{text.verifying.busy}</p>
            <Skeleton lines={2} />
          </>
        )}
      </div>
      <div className="dialog-foot">
        <CopyAs
          command={shell('tunix-rt', 'evaluations', 'verify', evaluation.id)}
          request={{ method: 'POST', address: `/api/evaluations/${evaluation.id}/verify` }}
        />
        <button type="button" onClick={close}>
          {common.close}
        </button>
      </div>
    </Dialog>
  )
}
