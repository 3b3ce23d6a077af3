import { useState } from 'react'

import { send } from '../../api/client'
import { useAct } from '../../api/hooks'
import { Confirm } from '../../parts/Dialog'
import { percent } from '../../parts/format'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { evaluation as text } from '../../text'
import { CHANGES, type Evaluation } from './words'

/** Asks for the reason why a row that was held back belongs on its board. */
export function Waive({ evaluation, close }: { evaluation: Evaluation; close: () => void }) {
  const [reason, setReason] = useState('')
  const act = useAct(
    () => send('post', '/api/evaluations/{evaluation_id}/waive', { at: { evaluation_id: evaluation.id }, body: { reason: reason.trim() } }),
    CHANGES,
    () => {
      say(text.leaderboard.waivedNow)
      close()
    },
  )
  const overlap = evaluation.contamination
  return (
    <Confirm
      title={text.leaderboard.waiveTitle(evaluation.name)}
      action={text.leaderboard.waiveDo}
      busy={act.isPending || reason.trim() === ''}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      {evaluation.n_repeated > 0 && <p>{text.leaderboard.repeated(evaluation.n_repeated)}</p>}
      {overlap && overlap.n > 0 && <p>{text.leaderboard.waiveDetail(overlap.n, percent(overlap.share))}</p>}
      <label className="field">
        <span>{text.leaderboard.waiveReason}</span>
        <textarea className="full" rows={3} maxLength={2000} value={reason} onChange={(event) => setReason(event.target.value)} />
      </label>
    </Confirm>
  )
}
